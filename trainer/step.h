/* trainer/step.h: the gradient of one step: groups in, losses and the summed gradient out.
 *
 *   rgb -> latent; U-Net(cat(latent, noise), t, text) -> x0 / scaling_factor = z          a micro-batch at a time
 *   decoder(z) -> task loss -> gradient of z                                              the decoder's part at a time
 *   one backward through the U-Net with the gradient of z, added to the step's sum
 *
 * Each sample's error is weighted by 1 / (valid pixels of its group * groups), so neither packing nor parts matter but
 * for rounding. Nothing is read back from the device before the step's end. */
#ifndef TRAINER_STEP_H
#define TRAINER_STEP_H
#include "datasets/loader.h"
#include "losses/loss.h"
#include "models/noise.h"
#include "trainer/network.h"
#include "trainer/timer.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_step_opts {
  int group;             /* samples in a group */
  int groups;            /* groups in a step */
  int unet_batch;        /* samples that go through the U-Net at once: a multiple of group */
  int decoder_batch;     /* samples that go through the decoder at once, at least 1 */
  int timestep;
  cf_noise noise;
  uint64_t seed;
  const ls_kind *loss;
  bool reference_loss;   /* objective.reference */
  bool drop_nan_groups;  /* optim.nonfinite: reference: a group whose loss is NaN counts as 0 without a gradient.
                          * Reads losses back before each U-Net backward, which no other mode does. */
  bool made_up_latents;  /* from torch's generator, instead of the groups' images: for measuring */
  tr_timer *timer;       /* learns the phases; NULL: nobody asks */
} tr_step_opts;

typedef struct tr_losses {
  double *group;         /* [groups]: mean error over the group's valid pixels */
  bool *empty;           /* [groups]: no valid pixel, or dropped: group[g] is 0 and no gradient came from it */
  bool *dropped;         /* [groups]: was NaN under drop_nan_groups */
  double mean;           /* over groups, empty ones as 0 */
  bool all_empty;
} tr_losses;

typedef struct tr_stepper tr_stepper;
/* net is borrowed. Errors: E_NOMEM, E_DEVICE. */
int tr_stepper_create(const tr_step_opts *o, tr_network *net, tr_stepper **out);
void tr_stepper_destroy(tr_stepper **s);
/* groups [groups] of one step in order; net->grads is the step's gradient afterwards. Where memory runs out the step is
 * begun again with smaller parts, with a warning: half the decoder's, and when that is 1, fewer groups through the U-Net;
 * later steps stay with these. *all_empty: no group had a valid pixel (or a loss that was not dropped), there is no gradient.
 * Errors: E_SHAPE, E_DEVICE; E_NOMEM when one group does not fit; non-finite losses are no error. */
int tr_stepper_run(tr_stepper *s, ds_group *const *groups, bool *all_empty);
/* Samples through U-Net and decoder at once: as asked for, or smaller after memory ran out. */
void tr_stepper_sizes(const tr_stepper *s, int *unet_batch, int *decoder_batch);
/* The samples' summed errors [groups*group] f32 on the device, 0 for those that were not computed: finite when all losses
 * are. Lent until the next run. */
const tchc_tensor *tr_stepper_sums(const tr_stepper *s);
/* Waits for the device. groups: as given to tr_stepper_run. *losses is lent until the next run. */
int tr_stepper_losses(tr_stepper *s, ds_group *const *groups, const tr_losses **losses);
#ifdef __cplusplus
}
#endif
#endif
