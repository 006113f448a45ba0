#include "datasets/dump.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "datasets/sheet.h"

/* Sample b of g as a group of one; borrows g's planes. */
static ds_group sample_of(const ds_group *g, int b) {
  const size_t px = (size_t)g->H * (size_t)g->W, latent = 4 * (size_t)(g->H / 8) * (size_t)(g->W / 8);
  ds_group s = *g;

  s.B = 1;
  s.rgb = g->rgb + 3 * px * b;
  s.metric = g->metric ? g->metric + px * b : NULL;
  s.depth = g->depth ? g->depth + px * b : NULL;
  s.normals = g->normals ? g->normals + 3 * px * b : NULL;
  s.mask = g->mask + px * b;
  s.noise = g->noise ? g->noise + latent * b : NULL;
  s.timesteps = g->timesteps ? g->timesteps + b : NULL;
  s.valid = g->valid + b;
  s.domain = g->domain + b;
  s.id = g->id + b;
  return s;
}

static int open_singly(const ds_loader_opts *o, const ds_data *data, int n, ds_loader **out) {
  ds_loader_opts singly = *o;

  singly.singly = true;
  singly.ahead = o->workers ? 2 * o->workers : 1;
  return ds_loader_open(&singly, data, n, out);
}

int ds_dump(const ds_loader_opts *o, const ds_data *data, int n, const char *dir, int64_t count) {
  int st = OK;
  ds_loader *l = NULL;
  ds_group *g;
  char path[IO_PATH_MAX];

  TRY(open_singly(o, data, n, &l)); /* forks first */
  TRY(io_make_dirs(dir));
  for (int64_t i = 0; i < count;) {
    TRY(ds_loader_next(l, &g));
    for (int b = 0; b < g->B && i < count; b++, i++) {
      const ds_group s = sample_of(g, b);
      TRY(io_path(path, "%s/%06lld.safetensors", dir, (long long)i));
      TRY(ds_group_save(&s, path));
    }
    ds_loader_release(l, g);
  }
  for (int i = 0; i < n; i++)
    if (ds_loader_left_out(l, i))
      log_info("data.%d: the filter left out %lld frames", i, (long long)ds_loader_left_out(l, i));
out:
  ds_loader_close(&l);
  return st;
}

typedef struct look {
  int64_t left_out, broken;
  int samples, H, W;
  bool mixed;
  double valid, pixels;
  ds_depth_histogram depth;
} look;

static void look_at(const ds_group *g, look *k) {
  if (!k->samples) k->H = g->H, k->W = g->W;
  k->mixed |= g->H != k->H || g->W != k->W;
  k->samples += g->B;
  for (int b = 0; b < g->B; b++) k->valid += (double)g->valid[b];
  if (g->metric) ds_depth_histogram_add(&k->depth, g->metric, g->mask, (size_t)g->B * (size_t)g->H * (size_t)g->W);
  k->pixels += (double)g->B * g->H * g->W;
}

/* A few samples of data set i. The others stay in the list, almost without weight, so that messages number
 * them right. */
static int samples_look(const ds_loader_opts *o, const ds_data *data, int n, int i, int64_t most, look *out) {
  int st = OK;
  ds_loader *l = NULL;
  ds_data *only = malloc((size_t)n * sizeof *only);
  const int64_t count = ds_source_count(data[i].source);
  look k = {0};

  NEED(only, E_NOMEM, "%d data sets", n);
  for (int j = 0; j < n; j++) only[j] = (ds_data){data[j].source, j == i ? 1 : 1e-12};
  TRY(open_singly(o, only, n, &l));
  for (int taken = 0; taken < most && taken + ds_loader_left_out(l, i) + ds_loader_bad_files(l) < count;) {
    ds_group *g;
    TRY(ds_loader_next(l, &g));
    if (g->dataset == i) look_at(g, &k), taken++;
    ds_loader_release(l, g);
  }
  k.left_out = ds_loader_left_out(l, i);
  k.broken = ds_loader_bad_files(l);
  *out = k;
out:
  ds_loader_close(&l);
  free(only);
  return st;
}

static const char *layout_name(ds_layout l) {
  return l == DS_LAYOUT_RAW ? " (raw)" : l == DS_LAYOUT_MARIGOLD ? " (marigold)" : "";
}

int ds_describe_all(FILE *f, const ds_loader_opts *o, const ds_data *data, int n, int64_t look_at_most) {
  int st = OK;
  double weights = 0;
  char first[DS_ID_MAX] = "", last[DS_ID_MAX] = "";

  for (int i = 0; i < n; i++) weights += data[i].weight;
  for (int i = 0; i < n; i++) {
    ds_source *s = data[i].source;
    const ds_opts *so = ds_source_opts(s);
    const int64_t count = ds_source_count(s);
    const int per = ds_source_samples_per_item(s);
    look k = {0};
    TRY(samples_look(o, data, n, i, look_at_most, &k));
    TRY(ds_source_describe(s, 0, first));
    TRY(ds_source_describe(s, count - 1, last));
    fprintf(f, "data.%d: %s%s %s\n", i, so->kind, layout_name(so->layout), so->root);
    fprintf(f, "  samples  %lld", (long long)count * per);
    if (ds_source_is_stored(s)) fprintf(f, " in %lld files of %d", (long long)count, per);
    fprintf(f, ", %.3g %% of the groups\n", 100 * data[i].weight / weights);
    fprintf(f, "  size     %dx%d%s\n", k.H, k.W, k.mixed ? " and others" : "");
    fprintf(f, "  first    %s\n  last     %s\n", first, last);
    fprintf(f, "  checked  %d samples kept, %lld left out by the filter, %lld broken\n", k.samples,
            (long long)k.left_out, (long long)k.broken);
    fprintf(f, "  valid    %.1f %% of the pixels in %d samples\n", 100 * k.valid / k.pixels, k.samples);
    if (k.depth.total) fprintf(f, "  depth    %.4g to %.4g m\n", k.depth.lo, k.depth.hi);
    ds_depth_histogram_print(&k.depth, "           ", f);
  }
  NEED(!ferror(f), E_IO, "the listing cannot be written");
out:
  return st;
}
