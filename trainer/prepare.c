#include "trainer/prepare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/log.h"
#include "datasets/cache_write.h"
#include "trainer/device.h"
#include "trainer/network.h"
#include "trainer/plan.h"
#include "trainer/prepare_report.h"
#include "trainer/prepared.h"
#include "trainer/progress.h"
#include "trainer/signals.h"

/* One entry of `data`. */
typedef struct part {
  const char *dir; /* NULL: not to be prepared */
  ds_cache_form form;
  ds_cache_writer *writer;
  int64_t begun; /* items that were there before */
  bool finished;
} part;

typedef struct prepare {
  const cf_config *c;
  bool latents;
  tr_data data;
  tr_network net; /* the VAE alone */
  part *parts;    /* [data.n] */
  ds_todo *todo;
  int64_t ntodo, done, broken;
  ds_loader *loader;
  double start_s;
  void *latent; /* of a plain and a mirrored sample */
  size_t latent_bytes;
} prepare;

static double now_s(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what there is to do ---- */

static int latent_form(const prepare *p, const int shape[2], ds_latent_form *out) {
  const int factor = md_vae_factor(&p->net.vae_config), size = p->c->run.precision == CF_BF16 ? 2 : 4;

  *out = (ds_latent_form){p->net.vae_config.latent_channels, shape[0] / factor, shape[1] / factor, size};
  return OK;
}

static int open_data(prepare *p) {
  int st = OK, largest[2];
  char dir[IO_PATH_MAX];

  TRY(tr_data_open(p->c, &p->data));
  NEED(p->parts = calloc((size_t)p->data.n, sizeof *p->parts), E_NOMEM, "prepare: %d data sets", p->data.n);
  if (p->latents) {
    TRY(io_path(dir, "%s/vae", p->c->model.path));
    TRY(md_vae_config_read(dir, &p->net.vae_config));
  }
  TRY(tr_data_check_sizes(p->c, &p->data, p->latents ? md_vae_factor(&p->net.vae_config) : 1, largest));
out:
  return st;
}

static int check_dirs(const prepare *p) {
  int st = OK, n = 0;

  for (int i = 0; i < p->data.n; i++) {
    const char *dir = p->c->data[i].cache;
    n += dir != NULL;
    for (int j = 0; j < i; j++)
      NEED(!dir || !p->c->data[j].cache || strcmp(dir, p->c->data[j].cache), E_CONFIG,
           "data.%d.cache: %s is data.%d.cache, too: each data set needs a folder of its own", i, dir, j);
  }
  NEED(n > 0, E_CONFIG, "data.0.cache: not set; it names the folder to prepare (-s data.0.cache=DIR)");
out:
  return st;
}

static int open_writer(prepare *p, int i) {
  int st = OK;
  part *t = &p->parts[i];
  const ds_source *s = p->data.sources[i];
  ds_key key;

  t->dir = p->c->data[i].cache;
  t->form = (ds_cache_form){.count = ds_source_count(s), .need = ds_source_opts(s)->need, .rows = DS_CACHE_ROWS_MAX};
  if (p->latents) {
    t->form.H = p->data.shape[i][0];
    t->form.W = p->data.shape[i][1];
    TRY(latent_form(p, p->data.shape[i], &t->form.latent));
  }
  TRY(tr_prepared_key(p->c, &p->data, i, p->latents, &key));
  TRY_AS(st, ds_cache_writer_open(t->dir, &key, &t->form, s, &t->writer), "data.%d.cache", i);
  t->begun = ds_cache_writer_done(t->writer);
out:
  return st;
}

static int open_writers(prepare *p) {
  int st = OK;

  for (int i = 0; i < p->data.n; i++) {
    if (!p->c->data[i].cache) log_info("data.%d has no cache: it is left as it is", i);
    else TRY(open_writer(p, i));
  }
out:
  return st;
}

static int list_todo(prepare *p) {
  int st = OK;

  for (int i = 0; i < p->data.n; i++)
    if (p->parts[i].writer) p->ntodo += p->parts[i].form.count - p->parts[i].begun;
  NEED(p->todo = malloc((size_t)(p->ntodo + 1) * sizeof *p->todo), E_NOMEM, "prepare: %lld items", (long long)p->ntodo);
  p->ntodo = 0;
  for (int i = 0; i < p->data.n; i++)
    for (int64_t j = p->parts[i].begun; p->parts[i].writer && j < p->parts[i].form.count; j++)
      p->todo[p->ntodo++] = (ds_todo){i, j};
out:
  return st;
}

/* ---- the disk ---- */

/* At most: planes of mirrored samples are left out where they are the plain ones, mirrored. */
static int64_t sample_bytes(const ds_cache_form *f) {
  int64_t bytes = 300; /* its line */

  for (int k = 0; k < DS_CACHE_PLANES; k++) bytes += (int64_t)ds_cache_plane_bytes(f, k);
  return bytes;
}

static int disk_of(const char *dir, dev_t *id, int64_t *left) {
  int st = OK;
  struct statvfs v;
  struct stat info;

  NEED(statvfs(dir, &v) == 0 && stat(dir, &info) == 0, err_of_errno(errno, E_IO), "%s: %s", dir, strerror(errno));
  *id = info.st_dev;
  *left = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
out:
  return st;
}

/* What all parts on the disk of part i still take. */
static int disk_need(const prepare *p, int i, int64_t *need, int64_t *left) {
  int st = OK;
  dev_t id = 0, other = 0;
  int64_t other_left;

  *need = 0;
  TRY(disk_of(p->parts[i].dir, &id, left));
  for (int j = 0; j < p->data.n; j++) {
    const part *t = &p->parts[j];
    if (!t->writer) continue;
    TRY(disk_of(t->dir, &other, &other_left));
    if (other == id) *need += (t->form.count - t->begun) * sample_bytes(&t->form);
  }
out:
  return st;
}

static int check_disk(const prepare *p) {
  int st = OK;
  int64_t need = 0, left = 0;
  char a[32], b[32], c[32];

  for (int i = 0; i < p->data.n; i++) {
    const part *t = &p->parts[i];
    if (!t->writer) continue;
    TRY(disk_need(p, i, &need, &left));
    log_info("data.%d: %lld samples, %lld of them prepared; at most %s each, %s more in %s, where %s are free", i,
             (long long)t->form.count, (long long)t->begun, tr_bytes_text(sample_bytes(&t->form), a),
             tr_bytes_text((t->form.count - t->begun) * sample_bytes(&t->form), b), t->dir, tr_bytes_text(left, c));
    NEED(need <= left, E_DISK, "data.%d.cache: %s: %s are needed there in all, %s are free", i, t->dir, tr_bytes_text(need, a),
         tr_bytes_text(left, b));
  }
out:
  return st;
}

/* ---- latents ---- */

static int load_vae(prepare *p) {
  int st = OK;
  tr_device device;

  if (!p->latents || !p->ntodo) goto out;
  TRY(tr_device_open(p->c, &device));
  TRY(tr_network_load_vae(p->c, &device, &p->net));
  log_info("encoding on %s", device.name);
out:
  return st;
}

/* rgb [2,3,H,W] to latents as the U-Net will see them; as in training, one image at a time. */
static int encode(prepare *p, const ds_group *g, const ds_cache_form *f) {
  int st = OK;
  const size_t bytes = 2 * ds_latent_bytes(&f->latent);
  const int64_t shape[] = {2, 3, g->H, g->W};
  tchc_scope *scope = NULL;
  tchc_tensor *rgb = NULL, *input = NULL, *latent = NULL;

  if (bytes > p->latent_bytes) {
    void *grown = realloc(p->latent, bytes);
    NEED(grown, E_NOMEM, "latents: %zu bytes", bytes);
    p->latent = grown;
    p->latent_bytes = bytes;
  }
  TRY(tchc_scope_open(&scope));
  TRY(tchc_from_host(g->rgb, shape, 4, TCHC_F32, p->net.device, &rgb));
  TRY(tchc_to_type(rgb, p->net.dtype, &input));
  TRY(md_vae_latent(p->net.vae, input, &latent));
  TRY(tchc_to_host(latent, p->latent, bytes));
out:
  tchc_scope_close(&scope);
  return st;
}

/* ---- items ---- */

static void sample_of(const prepare *p, const ds_group *g, int b, ds_sample *s) {
  const size_t px = (size_t)g->H * (size_t)g->W, at = (size_t)b * px;

  *s = (ds_sample){.H = g->H, .W = g->W, .mask = g->mask + at, .valid = g->valid[b]};
  if (g->metric) s->metric = g->metric + at;
  if (g->depth) s->depth = g->depth + at;
  if (g->normals) s->normals = g->normals + 3 * at;
  s->latent = (char *)p->latent + (size_t)b * p->latent_bytes / 2;
}

static int keep(prepare *p, const ds_group *g, const part *t, ds_cache_item *item, ds_sample both[2]) {
  int st = OK;

  item->state = DS_KEPT;
  item->frame = g->frame;
  if (!p->latents) goto out;
  NEED(g->H == t->form.H && g->W == t->form.W, E_CONFIG,
       "data.%d.size: %s has [%d, %d] pixels, the first has [%d, %d]; prepared samples have one size: set it", g->dataset,
       g->id[0], g->H, g->W, t->form.H, t->form.W);
  TRY(encode(p, g, &t->form));
  for (int b = 0; b < 2; b++) sample_of(p, g, b, &both[b]);
out:
  return st;
}

static int take_item(prepare *p, const ds_group *g) {
  int st = OK;
  part *t = &p->parts[g->dataset];
  char id[DS_ID_MAX];
  ds_cache_item item = {.state = g->left_out ? DS_FILTERED : DS_BROKEN, .id = id, .reason = g->bad};
  ds_sample both[2];

  TRY(ds_source_describe(p->data.sources[g->dataset], g->item, id));
  if (g->bad && g->left_out) {
    log_debug("data.%d: %s left out: %s", g->dataset, id, g->bad);
  } else if (g->bad) {
    p->broken++;
    log_warn("data.%d: broken: %s", g->dataset, g->bad);
  } else {
    TRY(keep(p, g, t, &item, both));
  }
  TRY(ds_cache_writer_put(t->writer, &item, both));
  if (g->item + 1 == t->form.count) {
    TRY(ds_cache_writer_finish(t->writer));
    t->finished = true;
  }
out:
  return st;
}

static void show(const prepare *p, bool last) {
  const double seconds = now_s() - p->start_s, rate = (double)p->done / (seconds > 1e-3 ? seconds : 1e-3);
  char eta[24];

  log_status(last, "prepare %lld/%lld (%.1f%%)  %.3g samples/s  %lld broken  ETA %s", (long long)p->done, (long long)p->ntodo,
             100.0 * (double)p->done / (double)p->ntodo, rate, (long long)p->broken,
             tr_duration_text((double)(p->ntodo - p->done) / rate, eta));
}

static int stopped(prepare *p, int sig) {
  int st = OK;

  for (int i = 0; i < p->data.n; i++)
    if (p->parts[i].writer && !p->parts[i].finished) TRY(ds_cache_writer_flush(p->parts[i].writer));
  FAIL(E_STOPPED, "stopped by signal %d after %lld of %lld samples; the same command goes on", sig, (long long)p->done,
       (long long)p->ntodo);
out:
  return st;
}

static int work(prepare *p) {
  int st = OK, sig;
  ds_group *g = NULL;

  p->start_s = now_s();
  while (p->done < p->ntodo) {
    if ((sig = tr_signal_seen())) TRY(stopped(p, sig));
    TRY(ds_loader_next(p->loader, &g));
    TRY(take_item(p, g));
    ds_loader_release(p->loader, g);
    p->done++;
    show(p, p->done == p->ntodo);
  }
  for (int i = 0; i < p->data.n; i++) /* those that were full already */
    if (p->parts[i].writer) TRY(ds_cache_writer_finish(p->parts[i].writer));
  log_status_end();
out:
  return st;
}

/* ---- the whole ---- */

static int open_loader(prepare *p) {
  int st = OK;
  ds_loader_opts o;

  tr_bind_loader(p->c, &o);
  o.todo = p->todo;
  o.ntodo = p->ntodo;
  if (p->ntodo) TRY(ds_loader_open(&o, p->data.entries, p->data.n, &p->loader));
out:
  return st;
}

static int report(const prepare *p, FILE *f) {
  int st = OK;
  int64_t fatal = 0, broken;

  for (int i = 0; i < p->data.n; i++) {
    if (!p->parts[i].writer) continue;
    TRY(tr_prepare_report(p->parts[i].dir, i, f, &broken));
    if (p->c->data[i].bad_file == CF_BAD_FATAL) fatal += broken;
  }
  NEED(!fatal, E_DATA, "%lld broken files, and bad_file is fatal", (long long)fatal);
out:
  return st;
}

static void close_all(prepare *p) {
  ds_loader_close(&p->loader);
  for (int i = 0; p->parts && i < p->data.n; i++) ds_cache_writer_close(&p->parts[i].writer);
  tr_network_fini(&p->net);
  tr_data_close(&p->data);
  free(p->parts);
  free(p->todo);
  free(p->latent);
}

int tr_prepare(const cf_config *c, FILE *f) {
  int st = OK;
  prepare p = {.c = c, .latents = c->model.path != NULL};

  TRY(open_data(&p));
  TRY(check_dirs(&p));
  TRY(open_writers(&p));
  TRY(list_todo(&p));
  TRY(check_disk(&p));
  TRY(open_loader(&p));
  TRY(tr_signals_install());
  TRY(load_vae(&p));
  TRY(work(&p));
  TRY(report(&p, f));
out:
  close_all(&p);
  return st;
}
