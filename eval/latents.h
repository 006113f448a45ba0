/* eval/latents.h: noise latents from a file. */
#ifndef EVAL_LATENTS_H
#define EVAL_LATENTS_H
#include "eval/predict.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Reads PATH, safetensors: `latents` [n,C,h,w] of any floating type and, for LCM, `noise0`, `noise1`, ... of that shape.
 * Free with ev_latents_free. Errors: E_DATA (not readable), E_CONFIG (other tensors than these, another shape), E_NOMEM. */
int ev_latents_read(const char *path, ev_latents **out);
void ev_latents_free(ev_latents **l);
#ifdef __cplusplus
}
#endif
#endif
