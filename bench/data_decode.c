/* bench/data_decode.c: how fast one core makes samples of files. bench/data_peer.py runs it beside the reference's way.
 * usage: data_decode KIND ROOT H W SAMPLES [as_reference] [depth|normals]     prints JSON; all planes unless one is named */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "datasets/source.h"

static double cpu_s(void) {
  struct rusage u;

  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static double wall_s(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void options(int argc, char **argv, ds_opts *o) {
  ds_opts_default(o);
  o->kind = argv[1];
  o->root = argv[2];
  o->size_set = true;
  o->H = atoi(argv[3]);
  o->W = atoi(argv[4]);
  o->need = DS_NEED_METRIC | DS_NEED_DEPTH | DS_NEED_NORMALS;
  for (int i = 6; i < argc; i++) {
    if (strcmp(argv[i], "as_reference") == 0) o->as_reference = true;
    if (strcmp(argv[i], "depth") == 0) o->need = DS_NEED_METRIC;
    if (strcmp(argv[i], "normals") == 0) o->need = DS_NEED_NORMALS;
  }
}

/* The first pass over the files is not measured. */
static int measure(ds_source *s, int64_t n, ds_sample *a, double *cpu, double *wall) {
  int st = OK;
  const int64_t files = ds_source_count(s), warm = files < n ? files : n;

  for (int64_t i = -warm; i < n; i++) {
    if (i == 0) {
      *cpu = cpu_s();
      *wall = wall_s();
    }
    TRY(ds_source_read(s, (i + warm) % files, i & 1, a));
  }
  *cpu = cpu_s() - *cpu;
  *wall = wall_s() - *wall;
out:
  return st;
}

static int run(int argc, char **argv) {
  int st = OK;
  ds_opts o;
  ds_source *s = NULL;
  ds_sample a = {0};
  float *floats = NULL;
  uint8_t *mask = NULL;
  double cpu = 0, wall = 0;

  NEED(argc >= 6, E_CONFIG, "usage: data_decode KIND ROOT H W SAMPLES [as_reference] [depth|normals]");
  options(argc, argv, &o);
  const int64_t n = atoll(argv[5]);
  NEED(o.H > 0 && o.W > 0 && n > 0, E_CONFIG, "H, W and SAMPLES are positive numbers");
  TRY(ds_source_open(&o, &s));
  floats = malloc(ds_sample_floats(o.H, o.W) * sizeof *floats);
  mask = malloc((size_t)o.H * (size_t)o.W);
  NEED(floats && mask, E_NOMEM, "out of memory");
  ds_sample_place(&a, o.H, o.W, floats, mask);
  TRY(measure(s, n, &a, &cpu, &wall));
  printf("{\"samples\": %lld, \"cpu_seconds\": %.4f, \"wall_seconds\": %.4f, \"samples_per_cpu_second\": %.3f}\n",
         (long long)n, cpu, wall, (double)n / cpu);
out:
  ds_source_close(&s);
  free(floats);
  free(mask);
  return st;
}

int main(int argc, char **argv) {
  if (run(argc, argv) == OK) return 0;
  fprintf(stderr, "%s\n", err_text());
  return 1;
}
