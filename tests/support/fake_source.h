/* tests/support/fake_source.h: datasets/source.h without files: samples whose pixels are a function of (data
 * set, item, flip), with items that are bad, crash or hang on demand. It stands in for source.c at link time,
 * so a test includes it instead of opening real data. */
#ifndef TESTS_SUPPORT_FAKE_SOURCE_H
#define TESTS_SUPPORT_FAKE_SOURCE_H
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "datasets/source.h"

enum { FAKE_MARKS = 4 };

struct ds_source {
  ds_opts opts;
  int number; /* which data set: seeds its pixels */
  int64_t count;
  int per_item, H, W;
  bool stored, native;
  long busy_ns; /* a sample takes this long */
  int64_t bad[FAKE_MARKS], crash[FAKE_MARKS], hang[FAKE_MARKS], wide[FAKE_MARKS]; /* item + 1; 0 = none */
  int64_t left_out_from; /* a filter leaves out items from here on; 0 = none */
  const char *left_out;
  int64_t bad_from;      /* items from here on are bad too; 0 = none */
  int64_t nomem;         /* item + 1 */
  volatile int *crashes; /* [FAKE_MARKS] shared: deaths that are left in each `crash` item; NULL = always */
  char *watch;
  size_t watch_size;
};

/* Which of the marks is on the item, -1 = none. */
static inline int fake_mark(const int64_t marks[FAKE_MARKS], int64_t item) {
  for (int i = 0; i < FAKE_MARKS; i++)
    if (marks[i] == item + 1) return i;
  return -1;
}

static inline bool fake_marked(const int64_t marks[FAKE_MARKS], int64_t item) {
  return fake_mark(marks, item) >= 0;
}

static inline void fake_crash(const ds_source *s, int mark) {
  if (mark < 0 || (s->crashes && s->crashes[mark] == 0)) return;
  if (s->crashes) s->crashes[mark]--;
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
}

static inline ds_source fake_source(int number, int64_t count, int H, int W) {
  ds_source s = {.number = number, .count = count, .per_item = 1, .H = H, .W = W};
  s.opts = (ds_opts){.kind = "fake",
                     .root = "/fake",
                     .H = H,
                     .W = W,
                     .flip = 0.5,
                     .shuffle = true,
                     .skip_bad_files = true,
                     .need = DS_NEED_METRIC | DS_NEED_NORMALS};
  return s;
}

static inline ds_source fake_stored(int number, int64_t files, int per_item, int H, int W) {
  ds_source s = fake_source(number, files, H, W);
  s.per_item = per_item;
  s.stored = true;
  return s;
}

int64_t ds_source_count(const ds_source *s) { return s->count; }
int ds_source_samples_per_item(const ds_source *s) { return s->per_item; }
bool ds_source_is_stored(const ds_source *s) { return s->stored; }
const ds_opts *ds_source_opts(const ds_source *s) { return &s->opts; }

const ds_latent_form *ds_source_latent(const ds_source *s) {
  (void)s;
  return NULL;
}

int ds_source_shape(ds_source *s, int64_t i, int *H, int *W) {
  *H = s->H;
  *W = s->W + (fake_marked(s->wide, i) ? 8 : 0);
  return OK;
}

int ds_source_describe(const ds_source *s, int64_t i, char id[DS_ID_MAX]) {
  snprintf(id, DS_ID_MAX, "set%d/%04lld", s->number, (long long)i);
  return OK;
}

void ds_source_watch(ds_source *s, char *path, size_t size) {
  s->watch = path;
  s->watch_size = size;
}

static inline float fake_pixel(int number, int64_t item, int b, bool flip, int plane, int px) {
  uint32_t h =
      (uint32_t)(number * 7919 + item * 104729 + b * 1299709 + plane * 15485863 + px * 31 + flip * 17);
  h = (h ^ h >> 15) * 0x2c1b3c6du;
  h ^= h >> 12;
  return (float)(h & 0xffff) / 65536;
}

static inline void fake_fill(const ds_source *s, int64_t i, int b, bool flip, ds_sample *out) {
  const int n = out->H * out->W;
  float *planes[] = {out->rgb, out->metric, out->depth, out->normals};
  const int channels[] = {3, 1, 1, 3};

  for (int p = 0; p < 4; p++)
    for (int px = 0; planes[p] && px < channels[p] * n; px++)
      planes[p][px] = fake_pixel(s->number, i, b, flip, p, px);
  out->valid = 0;
  for (int px = 0; px < n; px++) out->valid += out->mask[px] = (px + i + b) % 3 != 0;
  out->domain = s->number;
  snprintf(out->id, DS_ID_MAX, "set%d/%04lld/%d", s->number, (long long)i, b);
}

int ds_source_read(ds_source *s, int64_t i, bool flip, ds_sample *out) {
  int st = OK;
  const struct timespec busy = {0, s->busy_ns};

  if (s->watch) snprintf(s->watch, s->watch_size, "/fake/set%d/%04lld.file", s->number, (long long)i);
  if (s->busy_ns) nanosleep(&busy, NULL);
  fake_crash(s, fake_mark(s->crash, i));
  while (fake_marked(s->hang, i)) pause();
  NEED(!fake_marked(s->bad, i) && (!s->bad_from || i < s->bad_from), E_DATA, "/fake/set%d/%04lld.file: cut",
       s->number, (long long)i);
  NEED(s->nomem != i + 1, E_NOMEM, "no memory for a sample");
  s->left_out = s->left_out_from && i >= s->left_out_from ? "too dull" : NULL;
  for (int b = 0; b < s->per_item && !s->left_out; b++) fake_fill(s, i, b, flip, &out[b]);
out:
  return st;
}

int ds_source_read_files(ds_source *s, int64_t i, bool flip, ds_sample *out) { return ds_source_read(s, i, flip, out); }

const char *ds_source_left_out(const ds_source *s) { return s->left_out; }

int ds_source_read_both(ds_source *s, int64_t i, ds_sample out[2], ds_hash *frame) {
  int st = OK;

  for (int k = 0; k < 2; k++) TRY(ds_source_read(s, i, k == 1, &out[k]));
  *frame = (ds_hash){(uint64_t)s->number, (uint64_t)i};
out:
  return st;
}

int ds_source_read_extra(ds_source *s, int64_t i, ds_extra *out) {
  out->has_noise = false;
  if ((out->has_timesteps = i % 2 == 0))
    for (int b = 0; b < s->per_item; b++) out->timesteps[b] = 100 * i + b;
  return OK;
}
#endif
