/* tests/support/golden.h: tensors of tests/data/golden and comparisons with them.
 *   st_file *g = golden_open("losses/ssi.safetensors");
 *   float *want = golden_f32(g, "plain.pred", &n);
 *   golden_near_f32("plain.pred", got, want, n, 1e-6, 0); */
#ifndef TESTS_SUPPORT_GOLDEN_H
#define TESTS_SUPPORT_GOLDEN_H
#include <math.h>

#include "base/safetensors.h"
#include "tests/support/check.h"

/* Path relative to tests/data/golden. Close with st_close. */
static inline st_file *golden_open(const char *path) {
  st_file *f = NULL;
  char full[IO_PATH_MAX];

  check_ok(io_path(full, "%s/golden/%s", TEST_DATA, path));
  check_ok(st_open(full, &f));
  return f;
}

static inline const st_tensor *golden_find(const st_file *f, const char *name) {
  const st_tensor *t = st_find(f, name);
  if (!t) fail_msg("%s: no tensor %s", st_path(f), name);
  return t;
}

/* Elements as float, from malloc (free it); *n may be NULL. Integer types and BOOL are converted too. */
static inline double *golden_f64(const st_file *f, const char *name, size_t *n) {
  const st_tensor *t = golden_find(f, name);
  const size_t count = (size_t)st_numel(t);
  const char *p = t->data;
  double *out = malloc(count * sizeof *out + 1);
  float *narrow = malloc(count * sizeof *narrow + 1);

  assert_true(out && narrow);
  if (t->dtype == ST_F16 || t->dtype == ST_BF16 || t->dtype == ST_F32) check_ok(st_to_f32(t, narrow));
  for (size_t i = 0; i < count; i++) {
    int64_t l;
    int32_t w;
    int16_t h;
    switch (t->dtype) {
    case ST_F64: memcpy(&out[i], p + 8 * i, 8); break;
    case ST_I64: memcpy(&l, p + 8 * i, 8), out[i] = (double)l; break;
    case ST_I32: memcpy(&w, p + 4 * i, 4), out[i] = w; break;
    case ST_I16: memcpy(&h, p + 2 * i, 2), out[i] = h; break;
    case ST_I8: out[i] = (signed char)p[i]; break;
    case ST_U8:
    case ST_BOOL: out[i] = (unsigned char)p[i]; break;
    default: out[i] = narrow[i]; break;
    }
  }
  free(narrow);
  if (n) *n = count;
  return out;
}

static inline float *golden_f32(const st_file *f, const char *name, size_t *n) {
  size_t count;
  double *wide = golden_f64(f, name, &count);
  float *out = malloc(count * sizeof *out + 1);

  assert_non_null(out);
  for (size_t i = 0; i < count; i++) out[i] = (float)wide[i];
  free(wide);
  if (n) *n = count;
  return out;
}

typedef struct golden_diff {
  double max_abs, max_ref; /* over elements finite on both sides */
  double rel;              /* max_abs / max_ref; 0 when both are 0 */
  size_t worst;            /* where max_abs is */
  size_t kinds;            /* elements where one side is NaN, inf or -inf and the other is not the same */
} golden_diff;

static inline int golden_kind(double v) { return isnan(v) ? 3 : isinf(v) ? (v > 0 ? 1 : 2) : 0; }

static inline golden_diff golden_diff_f64(const double *got, const double *ref, size_t n) {
  golden_diff d = {0};

  for (size_t i = 0; i < n; i++) {
    const int a = golden_kind(got[i]), b = golden_kind(ref[i]);
    if (a != b) d.kinds++;
    if (a || b) continue;
    if (fabs(ref[i]) > d.max_ref) d.max_ref = fabs(ref[i]);
    if (fabs(got[i] - ref[i]) > d.max_abs) d.max_abs = fabs(got[i] - ref[i]), d.worst = i;
  }
  d.rel = d.max_abs == 0 ? 0 : d.max_abs / d.max_ref;
  return d;
}

static inline golden_diff golden_diff_f32(const float *got, const float *ref, size_t n) {
  double *wide = malloc(2 * n * sizeof *wide + 1);

  assert_non_null(wide);
  for (size_t i = 0; i < n; i++) wide[i] = got[i], wide[n + i] = ref[i];
  const golden_diff d = golden_diff_f64(wide, wide + n, n);
  free(wide);
  return d;
}

/* Passes when max|got - ref| <= abs_tol + rel_tol * max|ref| and non-finite values agree in kind and place. */
static inline void golden_expect(const char *what, golden_diff d, double rel_tol, double abs_tol) {
  if (d.kinds || !(d.max_abs <= abs_tol + rel_tol * d.max_ref)) {
    fail_msg("%s: max difference %.3g at %zu, max of the reference %.3g (rel %.3g), allowed rel %.3g + abs %.3g; "
             "%zu non-finite values differ", what, d.max_abs, d.worst, d.max_ref, d.rel, rel_tol, abs_tol, d.kinds);
  }
}

static inline void golden_near_f32(const char *what, const float *got, const float *ref, size_t n, double rel_tol,
                                   double abs_tol) {
  golden_expect(what, golden_diff_f32(got, ref, n), rel_tol, abs_tol);
}

static inline void golden_near_f64(const char *what, const double *got, const double *ref, size_t n, double rel_tol,
                                   double abs_tol) {
  golden_expect(what, golden_diff_f64(got, ref, n), rel_tol, abs_tol);
}
#endif
