/* checkpoints/ldm_config.h: the config files of a diffusers folder for a single file. What shapes cannot tell is as in
 * Stable Diffusion: 8 heads (1.x) or heads of 64 channels (2.x), 32 groups, heads of 64 in the text encoder. */
#ifndef CHECKPOINTS_LDM_CONFIG_H
#define CHECKPOINTS_LDM_CONFIG_H
#include <jansson.h>

#include "checkpoints/ldm.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { CK_PREDICTION_UNKNOWN, CK_PREDICTION_EPSILON, CK_PREDICTION_V } ck_prediction;
/* By modelspec.prediction_type of the metadata, the step count of SD-2-base (875000), or epsilon for 1.x;
 * *certain: false when none of these says it, and the answer is v for 2.x. */
ck_prediction ck_ldm_prediction(const ck_ldm *l, bool *certain);

/* New references, NULL when out of memory. */
json_t *ck_ldm_unet_config(const ck_ldm_shape *s, ck_prediction p);
json_t *ck_ldm_vae_config(const ck_ldm_shape *s, ck_prediction p);
json_t *ck_ldm_text_config(const ck_ldm_shape *s);
json_t *ck_ldm_scheduler_config(ck_prediction p);
json_t *ck_ldm_index(void);
/* Errors: E_CKPT: widths that Stable Diffusion's heads or groups do not divide; the noise schedule that the file names
 * (alphas_cumprod) is another one. */
int ck_ldm_check_standard(const ck_ldm *l);
#ifdef __cplusplus
}
#endif
#endif
