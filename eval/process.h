/* eval/process.h: one image on its way into the network and one prediction on its way out, on the host. */
#ifndef EVAL_PROCESS_H
#define EVAL_PROCESS_H
#include "eval/predict.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct ev_size {
  int h, w;   /* the image in processing */
  int H, W;   /* with padding: what the encoder sees */
  int lh, lw; /* the latent */
  int dh, dw; /* decoded, without padding */
} ev_size;
/* Sizes of an image of H x W. factor: pixels of a latent cell. Errors: E_DATA: nothing would be left of it. */
int ev_size_of(const ev_predict_opts *o, int factor, int H, int W, ev_size *out);
/* rgb [H,W,3] u8 of `image` -> out [3,s->H,s->W] in [-1,1]. Errors: E_NOMEM. */
int ev_preprocess(const ev_predict_opts *o, const ev_image *image, const ev_size *s, float *out);

/* Results of one image, from malloc. */
typedef struct ev_processed { ev_prediction p; float *values, *uncertainty; } ev_processed;
void ev_processed_free(ev_processed *r);
/* members [n,C,rows,cols], as decoded, of which the upper left dh x dw count -> r. shift, scale: of the ensemble's
 * alignment. Errors: E_NOMEM. */
int ev_postprocess(const ev_predict_opts *o, bool scale, bool shift, const ev_image *image, const ev_size *s,
                   const float *members, int n, int rows, int cols, ev_processed *r);
#ifdef __cplusplus
}
#endif
#endif
