/* What no single key can tell: keys that must fit each other. */
#include <inttypes.h>
#include <string.h>

#include "configs/schema.h"

typedef struct check {
  const cf_config *c;
  cf_errors *errors;
} check;

static const cf_origin *of(const check *k, const char *name, int entry) { return cf_origin_of(k->c, cf_key_index(name), entry); }

/* A key that was refused already takes part in no other check. */
static bool good(const check *k, const char *name, int entry) { return !of(k, name, entry)->bad; }

/* Where to point: the first of two keys if it was given, else the second. */
static cf_place place(const check *k, const char *first, const char *second, int entry) {
  const cf_origin *a = of(k, first, entry), *b = of(k, second, entry);

  return a->set ? a->at : b->set ? b->at : (cf_place){k->c->origins->file, 0, 0};
}

static void check_groups(const check *k) {
  const int64_t batch = k->c->optim.batch, group = k->c->optim.group, micro = k->c->optim.micro_batch;

  if (!good(k, "optim.group", -1)) return;
  if (good(k, "optim.batch", -1) && batch % group != 0)
    cf_report(k->errors, place(k, "optim.batch", "optim.group", -1), "optim.batch",
              "%" PRId64 " is not divisible by optim.group, %" PRId64, batch, group);
  if (good(k, "optim.micro_batch", -1) && micro % group != 0)
    cf_report(k->errors, place(k, "optim.micro_batch", "optim.group", -1), "optim.micro_batch",
              "%" PRId64 " is not a multiple of optim.group, %" PRId64, micro, group);
}

static void check_task(const check *k) {
  const char *loss = k->c->objective.loss, *fits = k->c->model.task == CF_NORMALS ? "angular" : "affine_l1";

  if (!good(k, "model.task", -1)) return;
  if (k->c->model.task == CF_JOINT)
    cf_report(k->errors, of(k, "model.task", -1)->at, "model.task", "joint training is not built yet; wants depth or normals");
  else if (loss && good(k, "objective.loss", -1) && k->c->objective.kind == CF_E2E && strcmp(loss, fits) != 0)
    cf_report(k->errors, of(k, "objective.loss", -1)->at, "objective.loss", "%s does not fit model.task %s; did you mean %s", loss,
              k->c->model.task == CF_NORMALS ? "normals" : "depth", fits);
}

/* Stored groups are used as they are. */
static void check_stored(const check *k, int entry) {
  char name[64];

  if (k->c->data[entry].kind != CF_KIND_BATCHES || !good(k, "data.kind", entry)) return;
  for (size_t i = 0; i < cf_nkeys; i++) {
    const cf_origin *o = cf_origin_of(k->c, (int)i, entry);
    if (!(cf_keys[i].flags & CF_NOT_STORED) || !o->set) continue;
    snprintf(name, sizeof name, "data.%d.%s", entry, cf_key_leaf(&cf_keys[i]));
    cf_report(k->errors, o->at, name, "does not apply to kind batches, whose groups are used as stored");
  }
}

/* What belongs to published data sets, whose reference there is. */
static void check_manifest(const check *k, int entry) {
  const char *const keys[] = {"data.as_reference", "data.mm_wrap"};
  const cf_data *d = &k->c->data[entry];
  char name[64];

  if (d->kind != CF_KIND_MANIFEST || !good(k, "data.kind", entry)) return;
  for (int i = 0; i < 2; i++) {
    if (!(i ? d->mm_wrap : d->as_reference)) continue;
    snprintf(name, sizeof name, "data.%d.%s", entry, keys[i] + strlen("data."));
    cf_report(k->errors, of(k, keys[i], entry)->at, name, "does not apply to kind manifest");
  }
}

static void check_range(const check *k, int entry) {
  const cf_data *d = &k->c->data[entry];
  const double far = d->far_m > 0 ? d->far_m : d->kind == CF_KIND_VKITTI2 ? 80 : 65;
  char name[64];

  if (d->kind == CF_KIND_MANIFEST && d->far_m == 0) return; /* no limit */
  if (d->kind == CF_KIND_BATCHES || !good(k, "data.near", entry) || !good(k, "data.far", entry) || d->near_m < far) return;
  snprintf(name, sizeof name, "data.%d.near", entry);
  cf_report(k->errors, place(k, "data.near", "data.far", entry), name, "%g is not below data.%d.far, %g", d->near_m, entry, far);
}

static void check_weights(const check *k) {
  for (size_t i = 0; i < k->c->ndata; i++)
    if (k->c->data[i].weight > 0 || !good(k, "data.weight", (int)i)) return;
  if (k->c->ndata)
    cf_report(k->errors, of(k, "data.weight", 0)->at, "data.0.weight", "every data set has weight 0");
}

void cf_check(const cf_config *c, bool require_model, cf_errors *errors) {
  const check k = {c, errors};

  check_groups(&k);
  check_task(&k);
  for (size_t i = 0; i < c->ndata; i++) {
    check_stored(&k, (int)i);
    check_range(&k, (int)i);
    check_manifest(&k, (int)i);
  }
  check_weights(&k);
  if (require_model && !c->model.path && good(&k, "model.path", -1))
    cf_report(errors, (cf_place){c->origins->file, 0, 0}, "model.path", "not set; wants the base model's diffusers folder");
}
