/* tests/support/runs.h: training runs on the golden micro-batches: config, run folder, metrics, weights. */
#ifndef TESTS_SUPPORT_RUNS_H
#define TESTS_SUPPORT_RUNS_H
#include <jansson.h>
#include <math.h>

#include "tests/support/golden.h"
#include "tests/support/micro_batches.h"
#include "tests/support/program.h"
#include "tests/support/tmpdir.h"

enum { RUNS_STEPS = 512, RUNS_GROUPS = 32 };

/* Writes the golden micro-batches below `state` (once) and a config that trains on them as the trajectories were made:
 * depth on tiny-marigold, normals on tiny-sd2. Runs go to "run" unless -s run.dir says otherwise. */
static inline const char *runs_config(void **state, const char *task) {
  const char *data = tmpdir_at(state, "batches"), *config = tmpdir_at(state, "%s.yaml", task);
  const bool depth = !strcmp(task, "depth");
  FILE *f;
  int n;

  if (!io_is_dir(data)) check_ok(micro_batches_split(TEST_DATA "/golden/train/micro_batches.safetensors", data, &n));
  assert_non_null(f = fopen(config, "w"));
  fprintf(f,
          "run: {dir: run, device: cpu}\n"
          "model: {path: %s/golden/models/%s, task: %s, text: padded}\n"
          "data:\n  - {kind: batches, root: %s}\n"
          "loader: {workers: 1}\n"
          "optim: {steps: 8, batch: 4, group: 2, lr: 3e-4, warmup: 3, decay_steps: 20}\n",
          TEST_DATA, depth ? "tiny-marigold" : "tiny-sd2", task, data);
  fclose(f);
  return config;
}

/* train CONFIG -s run.dir=DIR and more arguments (NULL-ended); fails the test when the status is another. */
static inline program runs_train(int status, const char *config, const char *dir, ...) {
  const char *args[PROGRAM_ARGS] = {"train", config, "-s"};
  char set[IO_PATH_MAX];
  int n = 4;
  va_list ap;

  snprintf(set, sizeof set, "run.dir=%.4000s", dir);
  args[3] = set;
  va_start(ap, dir);
  do args[n] = va_arg(ap, const char *);
  while (args[n++] && n < PROGRAM_ARGS);
  va_end(ap);
  program p = program_start_v(args);
  program_wait(&p, 300);
  program_expect(&p, status);
  return p;
}

/* The same for runs whose words nobody wants. */
#define RUNS_TRAIN(status, ...) \
  do { \
    program p_ = runs_train((status), __VA_ARGS__, NULL); \
    program_free(&p_); \
  } while (0)

typedef struct runs_line {
  int64_t step;
  double loss, grad_norm, lr;
  double group[RUNS_GROUPS]; /* NaN where null */
  int groups;
  bool skipped;
} runs_line;

static inline double runs_number(const json_t *v) {
  const char *s = json_string_value(v);
  if (s) return !strcmp(s, "inf") ? (double)INFINITY : !strcmp(s, "-inf") ? -(double)INFINITY : (double)NAN;
  return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/* Reads DIR/metrics.jsonl; every line must be a JSON object. Returns the number of lines. */
static inline int runs_metrics(const char *dir, runs_line out[RUNS_STEPS]) {
  char path[IO_PATH_MAX], *line = NULL;
  size_t cap = 0;
  int n = 0;
  FILE *f;

  check_ok(io_path(path, "%s/metrics.jsonl", dir));
  if (!(f = fopen(path, "r"))) fail_msg("%s: cannot open", path);
  while (getline(&line, &cap, f) > 0) {
    json_t *doc = json_loads(line, 0, NULL);
    if (!json_is_object(doc)) fail_msg("%s: no JSON object: %s", path, line);
    assert_true(n < RUNS_STEPS);
    runs_line *l = &out[n++];
    const json_t *groups = json_object_get(doc, "micro_losses");
    *l = (runs_line){.step = json_integer_value(json_object_get(doc, "step")),
                     .loss = runs_number(json_object_get(doc, "loss")),
                     .grad_norm = runs_number(json_object_get(doc, "grad_norm")),
                     .lr = runs_number(json_object_get(doc, "lr")),
                     .groups = (int)json_array_size(groups),
                     .skipped = json_is_true(json_object_get(doc, "skipped"))};
    assert_true(l->groups <= RUNS_GROUPS);
    for (int g = 0; g < l->groups; g++) l->group[g] = runs_number(json_array_get(groups, (size_t)g));
    json_decref(doc);
  }
  free(line);
  fclose(f);
  return n;
}

/* Two runs wrote the same numbers: everything of metrics.jsonl but times and memory. */
static inline void runs_same_metrics(const char *a, const char *b, double rel) {
  static runs_line x[RUNS_STEPS], y[RUNS_STEPS];
  const int n = runs_metrics(a, x);

  assert_int_equal(n, runs_metrics(b, y));
  for (int i = 0; i < n; i++) {
    assert_int_equal(x[i].step, y[i].step);
    if (!(fabs(x[i].loss - y[i].loss) <= rel * fabs(x[i].loss)) || x[i].lr != y[i].lr)
      fail_msg("step %lld: loss %.9g and %.9g, lr %.17g and %.17g", (long long)x[i].step, x[i].loss, y[i].loss,
               x[i].lr, y[i].lr);
    if (rel == 0 && x[i].grad_norm != y[i].grad_norm)
      fail_msg("step %lld: grad_norm %.9g and %.9g", (long long)x[i].step, x[i].grad_norm, y[i].grad_norm);
  }
}

/* ---- weights ---- */

static inline int runs_ascending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* |a - b| over all tensors of two files, sorted; *n their number. Names and shapes must agree. */
static inline float *runs_differences(const char *a, const char *b, size_t *n) {
  st_file *fa = NULL, *fb = NULL;
  float *d = NULL;

  check_ok(st_open(a, &fa));
  check_ok(st_open(b, &fb));
  assert_int_equal(st_count(fa), st_count(fb));
  *n = 0;
  for (size_t i = 0; i < st_count(fa); i++) {
    const st_tensor *ta = st_at(fa, i), *tb = golden_find(fb, ta->name);
    const size_t count = (size_t)st_numel(ta);
    float *x = malloc(2 * count * sizeof *x + 1);
    assert_int_equal(count, st_numel(tb));
    assert_non_null(d = realloc(d, (*n + count) * sizeof *d));
    check_ok(st_to_f32(ta, x));
    check_ok(st_to_f32(tb, x + count));
    for (size_t j = 0; j < count; j++) d[(*n)++] = fabsf(x[j] - x[count + j]);
    free(x);
  }
  st_close(&fa);
  st_close(&fb);
  qsort(d, *n, sizeof *d, runs_ascending);
  return d;
}

/* golden/manifest.json, tolerance of train/depth.* and train/normals.*, which agree. (The file holds NaN, which no
 * strict JSON reader takes.) */
static const double runs_loss_rel = 1e-5, runs_norm_rel = 1e-4, runs_lr_rel = 1e-12;
static const struct { double quantile, most; } runs_weight_tolerance[] = {
    {0.5, 3e-8}, {0.99, 5e-7}, {0.999, 3e-6}, {1.0, 1e-4}};

/* The weights of two files agree as the manifest wants: quantiles of |difference| over all of them. */
static inline void runs_close_weights(const char *a, const char *b) {
  size_t n;
  float *d = runs_differences(a, b, &n);

  for (int i = 0; i < 4; i++) {
    const double q = runs_weight_tolerance[i].quantile, most = runs_weight_tolerance[i].most;
    const double got = (double)d[(size_t)(q * (double)(n - 1))];
    if (!(got <= most)) fail_msg("quantile %g of |difference| is %.3g, %.3g allowed (%s)", q, got, most, a);
  }
  free(d);
}

static inline void runs_same_weights(const char *a, const char *b) {
  size_t n;
  float *d = runs_differences(a, b, &n);

  if (n && !(d[n - 1] == 0)) fail_msg("weights differ by up to %.3g (%s)", (double)d[n - 1], a);
  free(d);
}

#define RUNS_UNET "model/unet/diffusion_pytorch_model.safetensors"
#endif
