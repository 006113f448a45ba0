/* datasets/synth_truth.c: the exact geometry beside rendered frames: as numbers, and as the shapes and cameras that they come
 * from, so that somebody else can work the numbers out. */
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/safetensors.h"
#include "datasets/synth.h"

static int write_numbers(const char *path, ds_synth_frame *f) {
  int st = OK;
  const int64_t H = f->image.H, W = f->image.W, n = H * W;
  float *z = f->half_floats, *normal = malloc(sizeof *normal * 3 * (size_t)n);
  uint8_t *valid = f->bytes;

  NEED(normal, E_NOMEM, "%s: %lld pixels", path, (long long)n);
  for (int64_t i = 0; i < n; i++) {
    valid[i] = f->image.entity[i] > 0;
    z[i] = valid[i] ? f->image.planar[i] : 0;
    normal[3 * i] = f->image.normal[3 * i];
    normal[3 * i + 1] = -f->image.normal[3 * i + 1];
    normal[3 * i + 2] = -f->image.normal[3 * i + 2];
  }
  const st_tensor t[] = {{"n_cv", ST_F32, 3, {H, W, 3}, normal, sizeof *normal * 3 * (size_t)n},
                         {"valid", ST_U8, 2, {H, W}, valid, (size_t)n},
                         {"z", ST_F32, 2, {H, W}, z, sizeof *z * (size_t)n}};
  TRY(st_write(path, t, 3, NULL, 0));
out:
  free(normal);
  return st;
}

/* ---- the scene as JSON ---- */

typedef struct text {
  char *at;
  size_t used, room;
} text;

static void put(text *t, const char *key, const double *v, int n) {
  t->used += (size_t)snprintf(t->at + t->used, t->room - t->used, "\"%s\": [", key);
  for (int i = 0; i < n; i++)
    t->used += (size_t)snprintf(t->at + t->used, t->room - t->used, "%s%.17g", i ? ", " : "", v[i]);
  t->used += (size_t)snprintf(t->at + t->used, t->room - t->used, "]");
}

static void put_text(text *t, const char *s) { t->used += (size_t)snprintf(t->at + t->used, t->room - t->used, "%s", s); }

static void put_prim(text *t, const sc_prim *p) {
  static const char *const shape[] = {[SC_BOX] = "box", [SC_ELLIPSOID] = "ellipsoid", [SC_GROUND] = "ground"};

  put_text(t, "  {\"shape\": \"");
  put_text(t, p->inside ? "room" : shape[p->shape]);
  put_text(t, "\", ");
  put(t, "center", (double[]){p->center.x, p->center.y, p->center.z}, 3);
  put_text(t, ", ");
  put(t, "half", (double[]){p->half.x, p->half.y, p->half.z}, 3);
  put_text(t, ", ");
  put(t, "yaw", &p->yaw, 1);
  put_text(t, "}");
}

static int write_scene(const char *path, const sc_scene *s, const sc_camera *c) {
  int st = OK;
  text t = {.room = 4096 + (size_t)s->nprim * 512};

  NEED((t.at = malloc(t.room)) != NULL, E_NOMEM, "%s: %zu bytes", path, t.room);
  put_text(&t, "{");
  put(&t, "at", (double[]){c->at.x, c->at.y, c->at.z}, 3);
  put_text(&t, ",\n ");
  put(&t, "world_from_camera", &c->R[0][0], 9);
  put_text(&t, ",\n ");
  put(&t, "camera_from_uv", &c->M[0][0], 9);
  put_text(&t, ",\n \"shapes\": [\n");
  for (int i = 0; i < s->nprim; i++) {
    put_prim(&t, &s->prim[i]);
    put_text(&t, i + 1 < s->nprim ? ",\n" : "]}\n");
  }
  TRY(io_write_file(path, t.at, t.used));
out:
  free(t.at);
  return st;
}

int ds_synth_truth(const ds_synth_opts *o, const char *name, const sc_scene *s, const sc_camera *c, ds_synth_frame *f) {
  int st = OK;
  char path[IO_PATH_MAX];

  TRY(io_path(path, "%s/truth", o->out));
  TRY(io_make_dirs(path));
  TRY(io_path(path, "%s/truth/%s.json", o->out, name));
  TRY(write_scene(path, s, c));
  TRY(io_path(path, "%s/truth/%s.safetensors", o->out, name));
  TRY(write_numbers(path, f));
out:
  return st;
}
