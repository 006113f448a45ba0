/* trainer/bind.h: config keys to the option structs of the folders, and the checks that need more than one of them. */
#ifndef TRAINER_BIND_H
#define TRAINER_BIND_H
#include "configs/config.h"
#include "datasets/loader.h"
#include "losses/loss.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Values that the config format knows but this version cannot train with. Errors: E_CONFIG naming the key. */
int tr_bind_supported(const cf_config *c);
/* The loss that objective.loss names, or the task's. Errors: E_CONFIG: unknown, or of another task. */
int tr_bind_loss(const cf_config *c, const ls_kind **out);
/* Entry i of `data`. Strings are the config's. Errors: E_CONFIG: a value that data sets cannot honour yet. */
int tr_bind_data(const cf_config *c, size_t i, ds_opts *o);
void tr_bind_loader(const cf_config *c, ds_loader_opts *o);

/* All entries of `data`, opened. */
typedef struct tr_data {
  ds_source **sources;
  ds_data *entries;
  int (*shape)[2]; /* {H, W} of the entry's first sample, after tr_data_check_sizes */
  int n;
} tr_data;
/* Errors: E_CONFIG, E_DATA: the entry's index in front. */
int tr_data_open(const cf_config *c, tr_data *d);
void tr_data_close(tr_data *d);
/* Is H x W, a sample of entry i, a size that the VAE can take? Errors: E_CONFIG, for stored groups E_DATA: the entry and
 * its size. */
int tr_data_check_size(const cf_config *c, size_t i, int H, int W, int factor);
/* The size of every entry's first readable item, of stored groups' every item; factor 1: any size will do. Images are
 * opened in a decoder process alone. largest: item with the most pixels, {H, W}. */
int tr_data_check_sizes(const cf_config *c, tr_data *d, int factor, int largest[2]);
#ifdef __cplusplus
}
#endif
#endif
