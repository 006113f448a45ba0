/* tests/support/model_check.h: tensors of golden files as handles, comparisons with them, and models from folders. */
#ifndef TESTS_SUPPORT_MODEL_CHECK_H
#define TESTS_SUPPORT_MODEL_CHECK_H
#include "models/unet.h"
#include "models/vae.h"
#include "tests/support/golden.h"
#include "tests/support/tchc_check.h"

/* A copy of tensor `name`, f32 or i64, of the innermost scope. */
static inline tchc_tensor *golden_tensor(const st_file *f, const char *name) {
  const st_tensor *t = golden_find(f, name);
  tchc_tensor *out = NULL;
  if (t->dtype == ST_I64) {
    check_ok(tchc_from_host(t->data, t->shape, t->ndim, TCHC_I64, TCHC_CPU_DEVICE, &out));
  } else {
    float *v = golden_f32(f, name, NULL);
    check_ok(tchc_from_host(v, t->shape, t->ndim, TCHC_F32, TCHC_CPU_DEVICE, &out));
    free(v);
  }
  return out;
}

static inline golden_diff golden_tensor_diff(const tchc_tensor *got, const st_file *f, const char *name) {
  const st_tensor *t = golden_find(f, name);
  size_t n;
  float *want = golden_f32(f, name, &n), *have = malloc(n * sizeof *have + 1);
  bool same = tchc_ndim(got) == t->ndim;

  for (int d = 0; same && d < t->ndim; d++) same = tchc_size(got, d) == t->shape[d];
  if (!same) fail_msg("%s: shape is %s, not %s", name, tchc_text(got), st_shape_text(t->ndim, t->shape));
  to_floats(got, have, (int64_t)n);
  const golden_diff d = golden_diff_f32(have, want, n);
  free(want);
  free(have);
  return d;
}

/* max|got - ref| <= rel max|ref|, and the same shape. */
static inline void golden_tensor_near(const tchc_tensor *got, const st_file *f, const char *name, double rel) {
  golden_expect(name, golden_tensor_diff(got, f, name), rel, 0);
}

/* A U-Net with its weights, ready to run; dir is the folder that holds config.json. */
typedef struct unet_model {
  md_unet_config cfg;
  md_params *p;
  tchc_tensor *grads; /* NULL until trained */
  md_unet *net;
} unet_model;

static inline unet_model unet_open(const char *dir, tchc_dtype dt) {
  unet_model m = {.p = NULL};
  check_ok(md_unet_config_read(dir, &m.cfg, NULL));
  check_ok(md_params_create("unet", &m.p));
  check_ok(md_unet_declare(&m.cfg, m.p));
  check_ok(md_params_allocate(m.p, dt, TCHC_CPU_DEVICE));
  check_ok(md_unet_load(&m.cfg, dir, false, m.p));
  check_ok(md_unet_create(&m.cfg, m.p, &m.net));
  return m;
}

/* Zero gradients, collected from now on. */
static inline void unet_train(unet_model *m) {
  check_ok(tchc_full((int64_t[]){md_params_numel(m->p)}, 1, 0, TCHC_F32, TCHC_CPU_DEVICE, &m->grads));
  tchc_keep(m->grads);
  check_ok(md_params_train(m->p, m->grads));
}

static inline void unet_close(unet_model *m) {
  md_unet_destroy(&m->net);
  md_params_destroy(&m->p);
  tchc_free(&m->grads);
}

typedef struct vae_model {
  md_vae_config cfg;
  md_params *p;
  md_vae *net;
} vae_model;

static inline vae_model vae_open(const char *dir, tchc_dtype dt) {
  vae_model m = {.p = NULL};
  check_ok(md_vae_config_read(dir, &m.cfg));
  check_ok(md_params_create("vae", &m.p));
  check_ok(md_vae_declare(&m.cfg, m.p));
  check_ok(md_params_allocate(m.p, dt, TCHC_CPU_DEVICE));
  check_ok(md_vae_load(&m.cfg, dir, m.p));
  check_ok(md_vae_create(&m.cfg, m.p, &m.net));
  return m;
}

static inline void vae_close(vae_model *m) {
  md_vae_destroy(&m->net);
  md_params_destroy(&m->p);
}
#endif
