/* eval/model_predictor.h: a model as the source of an evaluation's predictions. */
#ifndef EVAL_MODEL_PREDICTOR_H
#define EVAL_MODEL_PREDICTOR_H
#include "eval/evaluate.h"
#include "eval/predict.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Both are borrowed. store, when it is there, writes each prediction under the image's path, as e2eft predict does and
 * --predictions reads it. */
typedef struct ev_model {
  const ev_estimator *estimator;
  const ev_predict_opts *opts;
  const char *store; /* folder, or NULL */
} ev_model;
/* For ev_predictor; ctx is an ev_model. The prediction has the image's own size, normals the model's frame. Errors: E_DATA:
 * this image cannot be predicted; those of ev_predict, E_DISK, E_IO. */
int ev_model_predict(void *ctx, int64_t i, const ev_item *item, float *out);
#ifdef __cplusplus
}
#endif
#endif
