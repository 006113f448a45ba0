/* trainer/prepared.h: prepared data (datasets/cache.h) of a config: what it depends on, and training from it. */
#ifndef TRAINER_PREPARED_H
#define TRAINER_PREPARED_H
#include "trainer/bind.h"
#ifdef __cplusplus
extern "C" {
#endif
/* What determines the samples of entry i, and with `latents` also their latents: the files of the VAE, the precision.
 * Errors: E_CONFIG, E_CKPT, E_NOMEM. */
int tr_prepared_key(const cf_config *c, const tr_data *d, int i, bool latents, ds_key *k);
/* Entries with data.cache take samples from there. Before the decoders are started. Errors: E_DATA, E_CKPT: see
 * ds_cache_open. */
int tr_prepared_use(const cf_config *c, tr_data *d);
#ifdef __cplusplus
}
#endif
#endif
