#include "datasets/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/kind.h"

void ds_opts_default(ds_opts *o) {
  *o = (ds_opts){.split = "train",
                 .near_m = 1e-5,
                 .flip = 0.5,
                 .shuffle = true,
                 .skip_bad_files = true,
                 .domain = -1,
                 .need = DS_NEED_METRIC};
}

/* Kinds pass on what files and paths fail with; to callers it is all data. */
static int as_data(int st) { return st == E_FAIL || st == E_IO || st == E_FORMAT ? E_DATA : st; }

/* ---- opening ---- */

static int own(const char **text) {
  int st = OK;

  if (*text) NEED((*text = strdup(*text)) != NULL, E_NOMEM, "out of memory");
out:
  return st;
}

static int own_strings(ds_opts *o) {
  int st = OK;
  const char **texts[] = {&o->kind, &o->root, &o->split, &o->split_csv, &o->camera_csv, &o->frame_list};

  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if ((st = own(texts[i])) != OK)
      for (; i < sizeof texts / sizeof *texts; i++) *texts[i] = NULL; /* the rest is still the caller's */
  return st;
}

static void free_strings(ds_opts *o) {
  free((char *)o->kind);
  free((char *)o->root);
  free((char *)o->split);
  free((char *)o->split_csv);
  free((char *)o->camera_csv);
  free((char *)o->frame_list);
}

static int find_kind(const char *name, const ds_kind **out) {
  int st = OK;
  char known[256] = "";

  for (int i = 0; ds_kinds[i]; i++) {
    const size_t n = strlen(known);
    if (name && strcmp(ds_kinds[i]->name, name) == 0) {
      *out = ds_kinds[i];
      return OK;
    }
    snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", ds_kinds[i]->name);
  }
  FAIL(E_CONFIG, "data kind '%s' is none of %s", name ? name : "", known);
out:
  return st;
}

static int take_defaults(ds_source *s) {
  int st = OK;
  ds_opts *o = &s->o;
  const ds_kind *k = s->kind;

  NEED(o->root && *o->root, E_CONFIG, "data kind %s: no root", k->name);
  NEED(o->H >= 0 && o->W >= 0 && !o->H == !o->W && o->crop_H >= 0 && o->crop_W >= 0 && !o->crop_H == !o->crop_W,
       E_CONFIG, "data %s: size %dx%d, crop %dx%d", o->root, o->H, o->W, o->crop_H, o->crop_W);
  NEED(o->filter == DS_FILTER_NONE || k->has_filter, E_CONFIG, "data %s: filter: marigold is for kind hypersim, not %s",
       o->root, k->name);
  s->crop_must_fit = o->crop_H > 0;
  if (!o->size_set && o->H == 0) {
    o->H = k->H;
    o->W = k->W;
    if (!s->crop_must_fit) {
      o->crop_H = k->crop_H;
      o->crop_W = k->crop_W;
    }
  }
  if (o->far_m == 0) o->far_m = k->far_default;
  if (o->domain < 0) o->domain = k->domain_default;
out:
  return st;
}

int ds_source_open(const ds_opts *o, ds_source **out) {
  int st = OK;
  ds_source *s = NULL;

  NEED((s = calloc(1, sizeof *s)) != NULL, E_NOMEM, "out of memory: data set");
  TRY(find_kind(o->kind, &s->kind));
  s->o = *o;
  if (!s->o.split) s->o.split = "train";
  TRY(own_strings(&s->o));
  TRY(take_defaults(s));
  s->samples_per_item = 1;
  TRY(ds_hasher_create(&s->hasher));
  TRY(as_data(s->kind->open(s)));
  *out = s;
  s = NULL;
out:
  ds_source_close(&s);
  return st;
}

void ds_source_close(ds_source **source) {
  ds_source *s = *source;

  if (!s) return;
  if (s->kind) s->kind->close(s);
  ds_cache_close(&s->cache);
  ds_hasher_destroy(&s->hasher);
  ds_frame_free(&s->frame);
  ds_frame_free(&s->kept);
  ds_h5_free(&s->h5);
  ds_buf_free(&s->file);
  ds_buf_free(&s->colour);
  ds_buf_free(&s->distance);
  ds_buf_free(&s->entity);
  ds_buf_free(&s->vectors);
  free_strings(&s->o);
  free(s);
  *source = NULL;
}

/* ---- facts ---- */

int64_t ds_source_count(const ds_source *s) { return s->count; }
int ds_source_samples_per_item(const ds_source *s) { return s->samples_per_item; }
bool ds_source_is_stored(const ds_source *s) { return s->kind->read != NULL; }
const ds_opts *ds_source_opts(const ds_source *s) { return &s->o; }

int ds_source_describe(const ds_source *s, int64_t i, char id[DS_ID_MAX]) {
  int st = OK;

  NEED(i >= 0 && i < s->count, E_FAIL, "%s: no item %lld among %lld", s->o.root, (long long)i, (long long)s->count);
  s->kind->describe(s, i, id);
out:
  return st;
}

/* The part of an H x W frame that is kept. */
static int window_of(const ds_source *s, int64_t i, int H, int W, ds_window *w) {
  int st = OK;
  const ds_opts *o = &s->o;
  char id[DS_ID_MAX];

  *w = (ds_window){0, 0, H, W};
  if (o->crop_H == 0) goto out;
  if (H < o->crop_H || W < o->crop_W) {
    if (!s->crop_must_fit) goto out;
    TRY(ds_source_describe(s, i, id));
    FAIL(E_DATA, "%s: %s: a crop of [%d, %d] does not fit in its [%d, %d] pixels", o->root, id, o->crop_H, o->crop_W,
         H, W);
  }
  *w = (ds_window){H - o->crop_H, (W - o->crop_W) / 2, o->crop_H, o->crop_W};
out:
  return st;
}

int ds_source_shape(ds_source *s, int64_t i, int *H, int *W) {
  int st = OK;
  int h, w;
  ds_window window;

  NEED(i >= 0 && i < s->count, E_FAIL, "%s: no item %lld among %lld", s->o.root, (long long)i, (long long)s->count);
  if (ds_source_latent(s)) {
    *H = ds_cache_get_index(s->cache)->form.H;
    *W = ds_cache_get_index(s->cache)->form.W;
    goto out;
  }
  if (!s->kind->read && s->o.H > 0) {
    *H = s->o.H;
    *W = s->o.W;
    goto out;
  }
  TRY(as_data(s->kind->size(s, i, &h, &w)));
  ds_source_reading(s, "");
  if (s->kind->read) window = (ds_window){0, 0, h, w};
  else TRY(window_of(s, i, h, w, &window));
  *H = window.H;
  *W = window.W;
out:
  return st;
}

/* ---- reading ---- */

void ds_source_watch(ds_source *s, char *path, size_t size) {
  s->watch = path;
  s->watch_size = size;
  ds_source_reading(s, "");
}

void ds_source_reading(ds_source *s, const char *path) {
  if (s->watch && s->watch_size) snprintf(s->watch, s->watch_size, "%s", path);
}

int ds_same_size(const char *path, int H, int W, const char *first_path, int first_H, int first_W) {
  int st = OK;

  NEED(H == first_H && W == first_W, E_DATA, "%s: %dx%d pixels (width x height), but %s has %dx%d", path, W, H,
       first_path, first_W, first_H);
out:
  return st;
}

static int decode(ds_source *s, int64_t i) {
  int st = OK;
  const bool with_normals = s->o.need & DS_NEED_NORMALS;

  s->item_domain = -1;
  TRY(as_data(s->kind->decode(s, i)));
  if (*s->left_out) goto out;
  ds_hasher_begin(s->hasher);
  if (s->cache) {
    ds_frame_hash(&s->frame, with_normals, s->hasher);
    TRY(ds_cache_check_frame(s->cache, i, ds_hasher_end(s->hasher)));
  }
out:
  return st;
}

/* Flip, crop and resize of the decoded frame, which is spoilt. */
static int emit(ds_source *s, int64_t i, bool flip, ds_sample *out) {
  int st = OK;
  const ds_opts *o = &s->o;
  ds_view view = {
      .flip = flip, .near_m = (float)o->near_m, .far_m = (float)o->far_m, .as_reference = o->as_reference,
      .whole_depth = o->whole_depth};
  ds_sample got = *out;
  int H, W;

  TRY(window_of(s, i, s->frame.H, s->frame.W, &view.window));
  H = o->H > 0 ? o->H : view.window.H;
  W = o->H > 0 ? o->W : view.window.W;
  s->kind->describe(s, i, got.id);
  NEED(H == out->H && W == out->W, E_DATA, "%s: %s: [%d, %d] pixels where [%d, %d] were expected", o->root, got.id, H,
       W, out->H, out->W);
  if (!(o->need & DS_NEED_NORMALS)) got.normals = NULL;
  TRY(ds_frame_emit(&s->frame, &view, &got));
  out->valid = got.valid;
  out->domain = s->item_domain >= 0 ? s->item_domain : o->domain;
  memcpy(out->id, got.id, sizeof out->id);
out:
  return st;
}

static int read_prepared(ds_source *s, int64_t i, bool flip, ds_sample *out) {
  int st = OK;
  const ds_cache_item *it = &ds_cache_get_index(s->cache)->items[i];
  const int domain = s->kind->domain ? s->kind->domain(s, i) : -1;
  const char *path = "";

  if (it->state == DS_FILTERED) {
    snprintf(s->left_out, sizeof s->left_out, "%s", it->reason);
    goto out;
  }
  st = ds_cache_read(s->cache, i, flip, &path, out);
  ds_source_reading(s, path);
  TRY(st);
  out->domain = domain >= 0 ? domain : s->o.domain;
  s->kind->describe(s, i, out->id);
out:
  return st;
}

static int read_any(ds_source *s, int64_t i, bool flip, bool prepared, ds_sample *out) {
  int st = OK;

  NEED(i >= 0 && i < s->count, E_FAIL, "%s: no item %lld among %lld", s->o.root, (long long)i, (long long)s->count);
  NEED(!flip || !s->kind->read, E_FAIL, "%s: kind %s takes no flip", s->o.root, s->kind->name);
  *s->left_out = 0;
  if (s->kind->read) {
    TRY(as_data(s->kind->read(s, i, out)));
  } else if (prepared) {
    TRY(read_prepared(s, i, flip, out));
  } else {
    TRY(decode(s, i));
    if (!*s->left_out) TRY(emit(s, i, flip, out));
  }
  ds_source_reading(s, "");
out:
  return st;
}

int ds_source_read(ds_source *s, int64_t i, bool flip, ds_sample *out) {
  return read_any(s, i, flip, ds_source_latent(s) != NULL, out);
}

int ds_source_read_files(ds_source *s, int64_t i, bool flip, ds_sample *out) { return read_any(s, i, flip, false, out); }

int ds_source_read_both(ds_source *s, int64_t i, ds_sample out[2], ds_hash *frame) {
  int st = OK;
  const bool with_normals = s->o.need & DS_NEED_NORMALS;

  NEED(i >= 0 && i < s->count && !s->kind->read, E_FAIL, "%s: no item %lld to decode", s->o.root, (long long)i);
  *s->left_out = 0;
  s->item_domain = -1;
  TRY(as_data(s->kind->decode(s, i)));
  if (*s->left_out) goto out;
  ds_hasher_begin(s->hasher);
  ds_frame_hash(&s->frame, with_normals, s->hasher);
  *frame = ds_hasher_end(s->hasher);
  TRY(ds_frame_copy(&s->frame, with_normals, &s->kept));
  TRY(emit(s, i, false, &out[0]));
  TRY(ds_frame_copy(&s->kept, with_normals, &s->frame));
  TRY(emit(s, i, true, &out[1]));
  ds_source_reading(s, "");
out:
  return st;
}

const char *ds_source_left_out(const ds_source *s) { return *s->left_out ? s->left_out : NULL; }

int ds_source_read_extra(ds_source *s, int64_t i, ds_extra *out) {
  int st = OK;

  NEED(i >= 0 && i < s->count, E_FAIL, "%s: no item %lld among %lld", s->o.root, (long long)i, (long long)s->count);
  out->has_noise = out->has_timesteps = false;
  if (s->kind->read_extra) TRY(as_data(s->kind->read_extra(s, i, out)));
  ds_source_reading(s, "");
out:
  return st;
}

int ds_source_store_normals(ds_source *s, int64_t i, const char *root) {
  int st = OK;

  NEED(i >= 0 && i < s->count, E_FAIL, "%s: no item %lld among %lld", s->o.root, (long long)i, (long long)s->count);
  NEED(s->kind->store_normals, E_CONFIG, "%s: kind %s comes with its normals, none are made", s->o.root, s->kind->name);
  TRY(s->kind->store_normals(s, i, root));
  ds_source_reading(s, "");
out:
  return st;
}
/* ---- prepared data ---- */

/* Every item in order: its id and what else its kind says. */
static ds_hash hash_items(const ds_source *s) {
  char id[DS_ID_MAX];

  ds_hasher_begin(s->hasher);
  for (int64_t i = 0; i < s->count; i++) {
    s->kind->describe(s, i, id);
    ds_hasher_add(s->hasher, id, strlen(id) + 1);
    if (s->kind->fingerprint) s->kind->fingerprint(s, i, s->hasher);
  }
  return ds_hasher_end(s->hasher);
}

int ds_source_key(const ds_source *s, bool samples, ds_key *k) {
  int st = OK;
  const ds_opts *o = &s->o;
  char items[DS_HASH_TEXT];

  NEED(!s->kind->read, E_CONFIG, "%s: kind %s is stored as it is used, there is nothing to prepare", o->root, s->kind->name);
  ds_hash_text(hash_items(s), items);
  ds_key_add(k, "format", "%d", DS_DECODING_VERSION);
  ds_key_add(k, "kind", "%s", s->kind->name);
  ds_key_add(k, "layout", "%s", o->layout == DS_LAYOUT_RAW ? "raw" : o->layout == DS_LAYOUT_MARIGOLD ? "marigold" : "auto");
  ds_key_add(k, "split", "%s", o->split);
  ds_key_add(k, "intrinsics", "%s", o->intrinsics == DS_FIXED ? "fixed" : "per_scene");
  ds_key_add(k, "filter", "%s", o->filter == DS_FILTER_MARIGOLD ? "marigold" : "none");
  ds_key_add(k, "mm_wrap", "%s", o->mm_wrap ? "true" : "false");
  ds_key_add(k, "as_reference", "%s", o->as_reference ? "true" : "false");
  ds_key_add(k, "depth", "unit %.17g, %s", o->depth_unit, o->euclidean ? "euclidean" : "planar");
  ds_key_add(k, "normals_frame", "%d", (int)o->normals_frame);
  ds_key_add(k, "normals", "%s", o->normals == DS_NORMALS_FILES ? "files" : o->normals == DS_NORMALS_DEPTH ? "depth" : "auto");
  ds_key_add(k, "planes", "%s%s%s", o->need & DS_NEED_METRIC ? "depth " : "", o->need & DS_NEED_NORMALS ? "normals " : "",
             o->need & DS_NEED_DEPTH ? "normalised" : "");
  ds_key_add(k, "items", "%lld %s", (long long)s->count, items);
  if (!samples) goto out;
  ds_key_add(k, "size", "[%d, %d]", o->H, o->W);
  ds_key_add(k, "crop", "[%d, %d]", o->crop_H, o->crop_W);
  ds_key_add(k, "near", "%.17g", o->near_m);
  ds_key_add(k, "far", "%.17g", o->far_m);
out:
  return st;
}

void ds_source_use_cache(ds_source *s, ds_cache *c) {
  ds_cache_close(&s->cache);
  s->cache = c;
}

const ds_latent_form *ds_source_latent(const ds_source *s) {
  return s->cache && ds_cache_has_samples(s->cache) ? &ds_cache_get_index(s->cache)->form.latent : NULL;
}
