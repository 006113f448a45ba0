/* trainer/preflight.h: a look at the data and at one gradient before step 1, so that a run that cannot learn ends at once
 * and says why. Changes nothing in what is trained. */
#ifndef TRAINER_PREFLIGHT_H
#define TRAINER_PREFLIGHT_H
#include "trainer/bind.h"
#include "trainer/step.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Decodes a group of each data set, up to 4 until one has a valid pixel, in a decoder process (call before torch), and
 * checks it (ds_group_check); for normals beside the depth, where there is any. Stored groups (kind batches) are used as
 * they are: what is odd there is only warned of. Errors: E_DATA: "data.1 (vkitti2, /root): ..." */
int tr_preflight_data(const cf_config *c, const tr_data *d);

/* The gradient of one of `groups` [o->groups], the first that has any; whole: of all of them, in the sizes of a step, which a
 * GPU measures its convolutions for at their first use. net's gradients are spoilt, as the next step expects. A non-finite one
 * is the step's own matter (optim.nonfinite). Errors: E_NUMERIC: it is zero everywhere, which no learning rate mends; as
 * tr_stepper_run. */
int tr_preflight_gradient(const tr_step_opts *o, tr_network *net, ds_group *const *groups, bool whole);
#ifdef __cplusplus
}
#endif
#endif
