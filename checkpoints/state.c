#include "checkpoints/state.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/safetensors.h"
#include "checkpoints/best.h"
#include "checkpoints/history.h"
#include "checkpoints/manifest.h"

enum { NBUFFERS = 4, EMA = 3, CONFIG_MAX = 64 << 20 };
static const char *const files[NBUFFERS] = {"weights.safetensors", "adam_m.safetensors", "adam_v.safetensors",
                                            "ema.safetensors"};

static float *buffer_of(const ck_state *s, int i) {
  float *const all[NBUFFERS] = {s->weights, s->m, s->v, s->ema};
  return all[i];
}

static size_t bytes_of(const ck_param *p) { return (size_t)p->numel * sizeof(float); }

/* ---- saving ---- */

/* Largest magnitude by its bits: for floats of one sign they order as the numbers do, with inf and NaN on top. */
static int32_t top_bits(const float *v, int64_t n) {
  int32_t top = 0;
  for (int64_t i = 0; i < n; i++) {
    int32_t bits;
    memcpy(&bits, &v[i], sizeof bits);
    bits &= 0x7fffffff;
    top = bits > top ? bits : top;
  }
  return top;
}

/* A state that holds NaN is of no use to anyone, and would push a good one out. */
static int check_finite(const ck_param *p, const char *file, const float *data) {
  int st = OK;
  NEED(top_bits(data, p->numel) < 0x7f800000, E_NUMERIC, "checkpoint not written: %s in %s is not finite", p->name, file);
out:
  return st;
}

static int save_buffer(const char *dir, const ck_state *s, int which, json_t *manifest) {
  static const char *const meta[2] = {"format", "pt"};
  int st = OK;
  ck_writer *w = NULL;
  st_tensor *t = calloc((size_t)s->nparams + 1, sizeof *t);

  NEED(t, E_NOMEM, "%s/%s: a table of %d tensors", dir, files[which], s->nparams);
  for (int i = 0; i < s->nparams; i++) {
    const ck_param *p = &s->params[i];
    t[i] = (st_tensor){.name = p->name, .dtype = ST_F32, .ndim = p->ndim, .data = buffer_of(s, which) + p->offset,
                       .nbytes = bytes_of(p)};
    memcpy(t[i].shape, p->shape, sizeof p->shape);
    TRY(check_finite(p, files[which], t[i].data));
    TRY(ck_manifest_add_tensor(manifest, i, p, files[which], ck_hash_of(t[i].data, t[i].nbytes)));
  }
  TRY(ck_writer_open(dir, files[which], &w));
  TRY(st_write_into(ck_writer_file(w), t, (size_t)s->nparams, meta, 1));
  TRY(ck_writer_finish(w, manifest));
out:
  ck_writer_close(&w);
  free(t);
  return st;
}

static int save_config(const char *dir, const char *config, json_t *manifest) {
  int st = OK;
  ck_writer *w = NULL;

  TRY(ck_writer_open(dir, "config.yaml", &w));
  TRY(io_write(ck_writer_file(w), config, strlen(config)));
  TRY(ck_writer_finish(w, manifest));
out:
  ck_writer_close(&w);
  return st;
}

/* All files into dir, the manifest last. */
static int save_files(const char *dir, const ck_state *s) {
  int st = OK;
  json_t *manifest = NULL;

  TRY(io_make_dirs(dir));
  TRY(ck_manifest_create(s, &manifest));
  for (int i = 0; i < NBUFFERS; i++)
    if (buffer_of(s, i)) TRY(save_buffer(dir, s, i, manifest));
  TRY(save_config(dir, s->config ? s->config : "", manifest));
  TRY(ck_manifest_write(dir, manifest));
  TRY(io_sync_dir(dir));
out:
  json_decref(manifest);
  return st;
}

/* Every file has the size and hash that the manifest says. */
static int verify(const char *path) {
  int st = OK;
  json_t *manifest = NULL, *entry;
  const char *name;

  TRY(ck_manifest_read(path, &manifest));
  json_object_foreach(json_object_get(manifest, "files"), name, entry)
    TRY(ck_manifest_check_file(path, manifest, name, false));
out:
  json_decref(manifest);
  return st;
}

/* Removes all but the newest `keep` and the best. */
static int prune(const char *run_dir, int keep) {
  int st = OK;
  size_t n = 0;
  int64_t *steps = NULL;
  ck_best best = {0};
  bool marked;

  if (keep == 0) goto out;
  TRY(ck_best_read(run_dir, &best, &marked));
  TRY(ck_history_steps(run_dir, &steps, &n));
  for (size_t i = 0; i + (size_t)keep < n; i++)
    if (!marked || steps[i] != best.step) TRY(ck_history_remove(run_dir, steps[i]));
out:
  free(steps);
  return st;
}

/* A run that was killed between a checkpoint's rename and pruning left one too many. It goes now, so that a disk that holds
 * keep + 1 is enough; but first the newest must be known to be good and to have its name for good. */
static int prune_late(const char *run_dir, int keep) {
  int st = OK;
  size_t n = 0;
  int64_t *steps = NULL;
  char newest[IO_PATH_MAX];
  ck_best best = {0};
  bool marked;

  if (keep == 0) goto out;
  TRY(ck_history_steps(run_dir, &steps, &n));
  if (n <= (size_t)keep) goto out;
  TRY(ck_best_read(run_dir, &best, &marked));
  if (n == (size_t)keep + 1 && marked && best.step == steps[0]) goto out;
  TRY(ck_history_path(newest, run_dir, steps[n - 1], ""));
  TRY(verify(newest));
  TRY(io_sync_parent(newest));
  TRY(prune(run_dir, keep));
out:
  free(steps);
  return st;
}

static const char *shape_of(const json_t *entry) {
  int64_t shape[ST_MAX_DIMS] = {0};
  const json_t *list = json_object_get(entry, "shape");
  const int n = (int)json_array_size(list);

  for (int i = 0; i < n && i < ST_MAX_DIMS; i++) shape[i] = json_integer_value(json_array_get(list, (size_t)i));
  return st_shape_text(n, shape);
}

/* The checkpoint must hold exactly the model's parameters, in its order: the flat buffers depend on it. */
static int check_params(const char *path, const json_t *manifest, const ck_state *s) {
  int st = OK;
  const json_t *list = json_object_get(manifest, "tensors");
  const int n = (int)json_array_size(list);

  for (int i = 0; i < n || i < s->nparams; i++) {
    const json_t *entry = json_array_get(list, (size_t)i);
    const char *name = json_string_value(json_object_get(entry, "name"));
    NEED(i < s->nparams, E_CKPT, "%s: parameter %d, %s, is not in the model, which has %d", path, i, name ? name : "?",
         s->nparams);
    const ck_param *p = &s->params[i];
    const char *want = st_shape_text(p->ndim, p->shape);
    NEED(i < n, E_CKPT, "%s: parameter %d, %s %s, is missing: it holds %d", path, i, p->name, want, n);
    NEED(name && strcmp(name, p->name) == 0, E_CKPT, "%s: parameter %d is %s, the model has %s", path, i,
         name ? name : "?", p->name);
    NEED(strcmp(shape_of(entry), want) == 0, E_CKPT, "%s: %s is %s, the model has %s", path, name, shape_of(entry), want);
  }
out:
  return st;
}

/* Do the file's tensors have the hashes that were taken of the state's buffers before anything was written? */
static int check_tensors(const char *path, const json_t *manifest, const ck_state *s, int which) {
  int st = OK;
  char file[IO_PATH_MAX];
  st_file *f = NULL;

  TRY(io_path(file, "%s/%s", path, files[which]));
  TRY_AS(E_NOMEM, st_open(file, &f), "its hash fits");
  for (int i = 0; i < s->nparams; i++) {
    const st_tensor *t = st_find(f, s->params[i].name);
    NEED(t && strcmp(ck_hash_of(t->data, t->nbytes).hex, ck_manifest_tensor_hash(manifest, i, files[which])) == 0, E_CKPT,
         "%s: %s is not what the state held", file, s->params[i].name);
  }
out:
  st_close(&f);
  return st;
}

/* From the disk and not from memory, as far as the system goes along. */
static int read_back(const char *path, const ck_state *s) {
  int st = OK;
  json_t *manifest = NULL, *entry;
  const char *name;

  TRY(ck_manifest_read(path, &manifest));
  TRY(check_params(path, manifest, s));
  json_object_foreach(json_object_get(manifest, "files"), name, entry)
    TRY(ck_manifest_check_file(path, manifest, name, true));
  for (int i = 0; i < NBUFFERS; i++)
    if (buffer_of(s, i)) TRY(check_tensors(path, manifest, s, i));
out:
  json_decref(manifest);
  return st;
}

/* What does not read back must not be the newest; what it stands in for gets its name back. */
static int check_written(const char *run_dir, const ck_state *s) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(ck_history_path(path, run_dir, s->step, ""));
  if ((st = read_back(path, s)) == OK || st == E_NOMEM) goto out;
  st = err_wrap(E_DISK, __FILE__, __LINE__, "a checkpoint reads back otherwise than it was written");
  err_saved why;
  err_save(&why);
  if (ck_history_remove(run_dir, s->step) != OK || ck_history_clean(run_dir) != OK)
    log_warn("left in place: %s", err_text());
  err_restore(&why);
out:
  return st;
}

/* A checkpoint on the disk counts, whatever becomes of the rubbish: this only warns. */
static void tidy(const char *run_dir, int64_t step, int keep) {
  if (ck_history_clean(run_dir) != OK) log_warn("left for the next save to clean up: %s", err_text());
  if (ck_drop_after(run_dir, step) != OK || prune(run_dir, keep) != OK)
    log_warn("an old checkpoint could not be removed: %s", err_text());
}

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void report(const ck_state *s, double write_s, double read_s) {
  double bytes = 0;

  for (int i = 0; i < NBUFFERS; i++)
    if (buffer_of(s, i)) bytes += (double)s->numel * sizeof(float);
  log_info("step %lld saved: %.4g MB in %.3g s (%.4g MB/s), read back in %.3g s", (long long)s->step, 1e-6 * bytes, write_s,
           1e-6 * bytes / write_s, read_s);
}

int ck_save(const char *run_dir, const ck_state *s, int keep) {
  int st = OK;
  char tmp[IO_PATH_MAX] = "";
  const double begin = now_s();

  TRY(ck_history_path(tmp, run_dir, s->step, ".tmp"));
  if (ck_history_clean(run_dir) != OK || prune_late(run_dir, keep) != OK)
    log_warn("left for the next save to clean up: %s", err_text());
  TRY(io_remove_tree(tmp));
  TRY(save_files(tmp, s));
  TRY(ck_history_publish(run_dir, s->step));
  const double written = now_s();
  TRY(check_written(run_dir, s));
  report(s, written - begin, now_s() - written);
  tidy(run_dir, s->step, keep);
out:
  if (st == E_IO) st = E_CKPT;
  if (st != OK && tmp[0]) { /* a full disk gets its space back */
    err_saved why;
    err_save(&why);
    io_remove_tree(tmp);
    err_restore(&why);
  }
  return st;
}

int ck_drop_after(const char *run_dir, int64_t step) {
  int st = OK;
  size_t n = 0;
  int64_t *steps = NULL;

  TRY(ck_history_steps(run_dir, &steps, &n));
  for (; n && steps[n - 1] > step; n--) {
    log_info("checkpoint of step %lld is removed: the run goes on from step %lld", (long long)steps[n - 1],
             (long long)step);
    TRY(ck_history_remove(run_dir, steps[n - 1]));
  }
out:
  if (st == E_IO) st = E_CKPT;
  free(steps);
  return st;
}

/* ---- finding ---- */

int ck_latest(const char *run_dir, char path[IO_PATH_MAX], bool *found) {
  int st = OK;
  size_t n = 0;
  int64_t *steps = NULL;
  char candidate[IO_PATH_MAX];

  TRY_AS(st == E_NOMEM ? E_NOMEM : E_CKPT, ck_history_steps(run_dir, &steps, &n), "no list of checkpoints");
  *found = false;
  while (n-- && !*found) {
    TRY(ck_history_path(candidate, run_dir, steps[n], ""));
    if ((st = verify(candidate)) == E_NOMEM) goto out; /* it may be a good one */
    *found = st == OK;
    st = OK;
    if (*found) memcpy(path, candidate, sizeof candidate);
    else log_warn("checkpoint of step %lld is passed over: %s", (long long)steps[n], err_text());
  }
out:
  free(steps);
  return st;
}

int ck_step(const char *path, int64_t *step) {
  int st = OK;
  json_t *manifest = NULL;

  TRY(ck_manifest_read(path, &manifest));
  *step = json_integer_value(json_object_get(manifest, "step"));
out:
  json_decref(manifest);
  return st;
}

/* ---- loading ---- */

static int load_tensor(const st_file *f, const ck_param *p, const char *hash, float *out) {
  int st = OK;
  const st_tensor *t = st_find(f, p->name);

  NEED(t, E_CKPT, "%s: %s is missing", st_path(f), p->name);
  NEED(t->dtype == ST_F32 && t->nbytes == bytes_of(p), E_CKPT, "%s: %s is %s %s, F32 %s wanted", st_path(f), p->name,
       st_dtype_name(t->dtype), st_shape_text(t->ndim, t->shape), st_shape_text(p->ndim, p->shape));
  if (t->nbytes) memcpy(out, t->data, t->nbytes);
  NEED(strcmp(ck_hash_of(out, t->nbytes).hex, hash) == 0, E_CKPT, "%s: %s does not fit its hash: damaged", st_path(f),
       p->name);
out:
  return st;
}

static int load_buffer(const char *path, const json_t *manifest, const ck_state *s, int which) {
  int st = OK;
  char file[IO_PATH_MAX];
  st_file *f = NULL;

  TRY(ck_manifest_check_file(path, manifest, files[which], false));
  TRY(io_path(file, "%s/%s", path, files[which]));
  TRY_AS(st == E_NOMEM ? E_NOMEM : E_CKPT, st_open(file, &f), "%s", path);
  for (int i = 0; i < s->nparams; i++) {
    const ck_param *p = &s->params[i];
    TRY(load_tensor(f, p, ck_manifest_tensor_hash(manifest, i, files[which]), buffer_of(s, which) + p->offset));
  }
out:
  st_close(&f);
  return st;
}

static int load_config(const char *path, const json_t *manifest, char **config) {
  int st = OK;
  char file[IO_PATH_MAX];
  size_t n;

  TRY(ck_manifest_check_file(path, manifest, "config.yaml", false));
  TRY(io_path(file, "%s/config.yaml", path));
  TRY_AS(st == E_NOMEM ? E_NOMEM : E_CKPT, io_read_file(file, CONFIG_MAX, config, &n), "%s", path);
out:
  return st;
}

int ck_load(const char *path, ck_state *s, char **config) {
  int st = OK;
  char *text = NULL;
  json_t *manifest = NULL;

  TRY(ck_manifest_read(path, &manifest));
  NEED(!s->ema || json_object_get(json_object_get(manifest, "files"), files[EMA]), E_CKPT,
       "%s: holds no %s, and the run keeps an average (optim.ema)", path, files[EMA]);
  TRY(check_params(path, manifest, s));
  for (int i = 0; i < NBUFFERS; i++)
    if (buffer_of(s, i)) TRY(load_buffer(path, manifest, s, i));
  TRY(load_config(path, manifest, &text));
  const char *seed = json_string_value(json_object_get(manifest, "seed"));
  s->step = json_integer_value(json_object_get(manifest, "step"));
  s->adam_t = json_integer_value(json_object_get(manifest, "adam_t"));
  s->nonfinite_row = json_integer_value(json_object_get(manifest, "nonfinite_row"));
  s->seed = strtoull(seed ? seed : "0", NULL, 10);
  if (config) {
    *config = text;
    text = NULL;
  }
out:
  free(text);
  json_decref(manifest);
  return st;
}
