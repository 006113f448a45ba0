/* tests/support/predict.h: e2eft predict with a tiny model, and latents for it. */
#ifndef TESTS_SUPPORT_PREDICT_H
#define TESTS_SUPPORT_PREDICT_H
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "tests/support/tmpdir.h"

enum { PREDICT_LIMIT_S = 60 };
#define PREDICT_MODEL TEST_DATA "/golden/models/tiny-marigold"
#define PREDICT_IMAGE TEST_DATA "/golden/pipeline/image.png"

/* predict IMAGE into the test's out/ with more options, a NULL-ended list. */
static inline program run_predict(void **state, const char *image, const char *const *more) {
  const char *args[PROGRAM_ARGS] = {"predict", "--device", "cpu", "-m", PREDICT_MODEL, "-o", tmpdir_at(state, "out"), image};
  int n = 8;

  while (*more && n + 1 < PROGRAM_ARGS) args[n++] = *more++;
  program p = program_start_v(args);
  program_wait(&p, PREDICT_LIMIT_S);
  return p;
}
#define PREDICT(image, ...) run_predict(state, (image), (const char *const[]){__VA_ARGS__, NULL})

static inline void predict_ok(void **state, const char *image, const char *const *more) {
  program p = run_predict(state, image, more);
  program_expect(&p, 0);
  program_free(&p);
}

/* Tensors of g, named `from`, as tensors `to` of the test's latents.safetensors. */
static inline const char *latents_file(void **state, const st_file *g, const char *const *from, const char *const *to, size_t n) {
  const char *path = tmpdir_at(state, "latents.safetensors");
  st_tensor t[4];

  for (size_t i = 0; i < n; i++) {
    t[i] = *golden_find(g, from[i]);
    t[i].name = to[i];
  }
  check_ok(st_write(path, t, n, NULL, 0));
  return path;
}
#endif
