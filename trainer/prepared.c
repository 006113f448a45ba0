#include "trainer/prepared.h"

#include "base/io.h"
#include "trainer/record.h"

/* The VAE's files; with fresh weights also what they are drawn from; how it computes. */
static int vae_key(const cf_config *c, ds_key *k) {
  int st = OK;
  char dir[IO_PATH_MAX];
  tr_hash hash;

  TRY(io_path(dir, "%s/vae", c->model.path));
  NEED(io_is_dir(dir), E_CKPT, "model.path: %s: no such folder", dir);
  TRY(tr_hash_folder(dir, &hash));
  if (c->model.init == CF_RANDOM) ds_key_add(k, "vae", "%s, random from seed %lld", hash.hex, (long long)c->run.seed);
  else ds_key_add(k, "vae", "%s", hash.hex);
  ds_key_add(k, "kernels", "%s", c->run.kernels == CF_KERNELS_FUSED ? "fused" : c->run.kernels == CF_KERNELS_PLAIN ? "plain" : "auto");
  ds_key_add(k, "precision", "%s", c->run.precision == CF_BF16 ? "bf16" : "fp32");
out:
  return st;
}

int tr_prepared_key(const cf_config *c, const tr_data *d, int i, bool latents, ds_key *k) {
  int st = OK;

  *k = (ds_key){0};
  TRY_AS(st, ds_source_key(d->sources[i], latents, k), "data.%d", i);
  if (latents) TRY(vae_key(c, k));
out:
  return st;
}

int tr_prepared_use(const cf_config *c, tr_data *d) {
  int st = OK;
  ds_cache *cache = NULL;
  ds_key key;

  for (int i = 0; i < d->n; i++) {
    if (!c->data[i].cache) continue;
    TRY(tr_prepared_key(c, d, i, true, &key));
    TRY_AS(st, ds_cache_open(c->data[i].cache, &key, ds_source_count(d->sources[i]), &cache), "data.%d.cache", i);
    ds_source_use_cache(d->sources[i], cache);
  }
out:
  return st;
}
