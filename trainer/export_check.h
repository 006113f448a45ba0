/* trainer/export_check.h: an exported folder is loaded back and must give what the trained weights give. */
#ifndef TRAINER_EXPORT_CHECK_H
#define TRAINER_EXPORT_CHECK_H
#include "base/safetensors.h"
#include "trainer/network.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Answers of the trained weights for a drawn image, in fp32 on the CPU. */
typedef struct tr_answers {
  int H, W;
  float *rgb;                /* [3,H,W] */
  float *tokens_2;           /* depth [H,W], normals [3,H,W]: with the empty prompt of 2 tokens */
  size_t n;                  /* numbers in an answer */
  double text_difference;    /* largest |difference| to the answer with training's text; 0 after text: short */
} tr_answers;

/* The base of c with these U-Net weights (F32, the layout of c's network). noise counts as zeros.
 * Depth is measured in [0,1], normals by component. Errors: E_CKPT, E_NOMEM. */
int tr_answers_make(const cf_config *c, const st_tensor *unet, size_t n, tr_answers *out);
void tr_answers_fini(tr_answers *a);

/* Loads the model folder dir and gives the largest |difference| of its answers to a's. folded: it is asked with noise in
 * the noise channels and at two timesteps. flip_x: its normals have x to the other side.
 * Errors: E_CKPT (it does not load), E_FAIL (it differs by more than rounding explains). */
int tr_answers_compare(const cf_config *c, const char *dir, bool folded, bool flip_x, const tr_answers *a,
                       double *difference);
#ifdef __cplusplus
}
#endif
#endif
