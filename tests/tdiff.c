/* tests/tdiff.c: tdiff REF_DIR OUR_DIR [rtol]: the first tensor, in the order of REF_DIR, where two dumps part.
 * A dump is NNNN_module.path.npy; NNNN is the call number, so name order is run order. Tensors are matched by path and,
 * where a module ran more than once, by turn, so that one side may have dumped more than the other.
 * rtol: of the difference's L2 norm to the reference's, 1e-4. Exit: 0 same, 1 different, 2 wrong usage. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/npy.h"

typedef struct dump {
  char **names;
  size_t n;
} dump;

typedef struct array {
  int ndim;
  int64_t shape[8];
  float *x;
} array;

/* "0012_conv_in.npy" -> "conv_in.npy"; NULL for other files. */
static const char *path_of(const char *name) {
  const size_t digits = strspn(name, "0123456789"), n = strlen(name);
  const bool ours = digits > 0 && name[digits] == '_' && n > 4 && strcmp(name + n - 4, ".npy") == 0;
  return ours ? name + digits + 1 : NULL;
}

/* Which turn of its module file i is, from 0. */
static int turn_of(const dump *d, size_t i) {
  int turn = 0;
  for (size_t k = 0; k < i; k++) {
    const char *p = path_of(d->names[k]);
    turn += p && strcmp(p, path_of(d->names[i])) == 0;
  }
  return turn;
}

static const char *find(const dump *d, const char *path, int turn) {
  for (size_t i = 0; i < d->n; i++) {
    const char *p = path_of(d->names[i]);
    if (p && strcmp(p, path) == 0 && turn-- == 0) return d->names[i];
  }
  return NULL;
}

static int load(const char *dir, const char *name, array *a) {
  int st = OK;
  char path[IO_PATH_MAX];
  TRY(io_path(path, "%s/%s", dir, name));
  TRY(npy_load_f32(path, &a->ndim, a->shape, &a->x));
out:
  return st;
}

static void shape_text(const array *a, char out[128]) {
  size_t at = (size_t)snprintf(out, 128, "[");
  for (int i = 0; i < a->ndim; i++) at += (size_t)snprintf(out + at, 128 - at, "%s%lld", i ? "," : "", (long long)a->shape[i]);
  snprintf(out + at, 128 - at, "]");
}

typedef struct difference {
  double rel, worst;
  size_t at, new_bad; /* index of the worst; values finite in the reference alone */
} difference;

static difference compare(const array *ref, const array *our) {
  difference d = {.worst = -1};
  double diff2 = 0, ref2 = 0;
  size_t n = 1;
  for (int i = 0; i < ref->ndim; i++) n *= (size_t)ref->shape[i];
  for (size_t i = 0; i < n; i++) {
    const double a = ref->x[i], b = our->x[i], e = fabs(b - a);
    if (!isfinite(a) && (a == b || (isnan(a) && isnan(b)))) continue;
    d.new_bad += isfinite(a) && !isfinite(b);
    diff2 += e * e;
    ref2 += a * a;
    if (!(e <= d.worst)) d.worst = e, d.at = i;
  }
  d.rel = diff2 == 0 ? 0 : sqrt(diff2 / (ref2 + 1e-30));
  return d;
}

/* 0 same, 1 different, printed either way. */
static int report(const char *name, const array *ref, const array *our, double rtol) {
  char want[128], have[128];
  shape_text(ref, want);
  shape_text(our, have);
  if (strcmp(want, have) != 0) {
    printf("%-60s FIRST DIFFERENCE: shape %s, ours %s\n", name, want, have);
    return 1;
  }
  const difference d = compare(ref, our);
  const bool same = d.rel <= rtol && d.new_bad == 0;
  printf("%-60s %-20s rel %.1e max %.1e%s\n", name, want, d.rel, d.worst, same ? "" : "  FIRST DIFFERENCE");
  if (!same)
    printf("  at flat index %zu: ref %g, ours %g; %zu newly non-finite\n", d.at, ref->x[d.at], our->x[d.at], d.new_bad);
  return !same;
}

static int compare_dumps(const char *ref_dir, const char *our_dir, double rtol, int *different) {
  int st = OK, compared = 0;
  dump ref = {NULL, 0}, our = {NULL, 0};
  array a = {0}, b = {0};

  TRY(io_list_dir(ref_dir, &ref.names, &ref.n));
  TRY(io_list_dir(our_dir, &our.names, &our.n));
  *different = 0;
  for (size_t i = 0; i < ref.n && !*different; i++) {
    const char *path = path_of(ref.names[i]), *match = path ? find(&our, path, turn_of(&ref, i)) : NULL;
    if (!path) continue;
    compared++;
    if (!match) {
      printf("%-60s FIRST DIFFERENCE: not in %s\n", ref.names[i], our_dir);
      *different = 1;
      break;
    }
    TRY(load(ref_dir, ref.names[i], &a));
    TRY(load(our_dir, match, &b));
    *different = report(ref.names[i], &a, &b, rtol);
    free(a.x);
    free(b.x);
    a.x = b.x = NULL;
  }
  NEED(compared > 0, E_DATA, "%s: no NNNN_name.npy files", ref_dir);
out:
  free(a.x);
  free(b.x);
  io_free_names(&ref.names, ref.n);
  io_free_names(&our.names, our.n);
  return st;
}

int main(int argc, char **argv) {
  int different = 0;
  if (argc < 3 || argc > 4) {
    fprintf(stderr, "usage: tdiff REF_DIR OUR_DIR [rtol]\n");
    return 2;
  }
  if (compare_dumps(argv[1], argv[2], argc > 3 ? atof(argv[3]) : 1e-4, &different) != OK) {
    fprintf(stderr, "tdiff: %s\n", err_text());
    return 2;
  }
  return different;
}
