/* checkpoints/ldm_names.h: names of the original latent-diffusion layout as diffusers has them. For ldm.c. */
#ifndef CHECKPOINTS_LDM_NAMES_H
#define CHECKPOINTS_LDM_NAMES_H
#include "checkpoints/ldm.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { LDM_NAME_MAX = 256 };
typedef enum {
  LDM_UNKNOWN,  /* no such key in this layout */
  LDM_PLAIN,
  LDM_FUSED,    /* q, k, v in one: `out` has %c in the place of the letter */
  LDM_UNUSED    /* of the layout, but no part of a diffusers folder */
} ldm_place;
/* name: without the part's prefix. */
ldm_place ldm_rename(ck_ldm_part part, const ck_ldm_shape *s, const char *name, char out[LDM_NAME_MAX]);
#ifdef __cplusplus
}
#endif
#endif
