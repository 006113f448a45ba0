/* models/embeddings.h: the time embedding of a U-Net: diffusers' Timesteps and TimestepEmbedding. Source: embeddings.py. */
#ifndef MODELS_EMBEDDINGS_H
#define MODELS_EMBEDDINGS_H
#include "models/layers.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct md_time_embedding {
  int width;                /* of the sinusoids; the embedding has 4 times that */
  bool flip_sin_to_cos;
  md_linear linear_1, linear_2;
  tchc_tensor *frequencies; /* [1,width/2] f32, owned; NULL when only declared */
} md_time_embedding;

/* frequencies: exp(-log(10000) i / (width/2 - shift)) */
int md_time_embedding_build(const md_build *b, int width, bool flip_sin_to_cos, double shift, md_time_embedding *e);
void md_time_embedding_fini(md_time_embedding *e);
/* timesteps [n] of any type, n = batch or 1 -> [batch,4 width] in the parameters' type; sinusoids are made in f32. */
int md_time_embedding_forward(const md_time_embedding *e, const md_probe *probe, const tchc_tensor *timesteps,
                              int64_t batch, tchc_tensor **out);
/* What linear_1 gives at one timestep, before the activation: out [4 width] = weight [4 width,width] sinusoids + bias, on
 * the CPU. A U-Net with weight 0 and this bias answers for that timestep at any. */
int md_time_embedding_at(int width, bool flip_sin_to_cos, double shift, double timestep, const float *weight,
                         const float *bias, float *out);
#ifdef __cplusplus
}
#endif
#endif
