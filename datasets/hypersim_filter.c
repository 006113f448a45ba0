/* Which of Hypersim's frames are left out: those that Marigold's lists leave out, those missing in a list of the user's,
 * known broken renders. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/hypersim.h"

enum { LIST_MAX = 64 << 20 };

/* ---- Marigold's criteria (prs-eth/Marigold issue 158) ---- */

static const double DEPTH_RANGE_MIN = 0.5, INVALID_RATIO_MAX = 0.03;
enum { RGB_RANGE_MIN = 10 };

bool ds_hypersim_fails(const ds_hypersim_stats *t, char *why, size_t size) {
  const double depth = t->depth_max - t->depth_min, rgb = t->rgb_max - t->rgb_min;

  if (!(depth >= DEPTH_RANGE_MIN)) snprintf(why, size, "depth range %.3g m", depth);
  else if (!(rgb >= RGB_RANGE_MIN)) snprintf(why, size, "RGB range %g", rgb);
  else if (!(t->invalid_ratio <= INVALID_RATIO_MAX)) snprintf(why, size, "%.3g %% invalid", 100 * t->invalid_ratio);
  else return false;
  return true;
}

void ds_hypersim_rgb_range(const uint8_t *rgb, size_t n, ds_hypersim_stats *t) {
  uint8_t lo = 255, hi = 0;

  for (size_t i = 0; i < n; i++) {
    lo = rgb[i] < lo ? rgb[i] : lo;
    hi = rgb[i] > hi ? rgb[i] : hi;
  }
  t->rgb_min = lo;
  t->rgb_max = hi;
}

double ds_hypersim_invalid_ratio(const int16_t *entity, size_t n) {
  size_t invalid = 0;

  for (size_t i = 0; i < n; i++) invalid += entity[i] == -1;
  return (double)invalid / (double)n;
}

/* ---- frames that the published split contains and should not: apple/ml-hypersim issue 22 ---- */

bool ds_hypersim_is_broken(const char *scene, const char *camera) {
  static const char *const broken[][2] = {{"ai_004_009", "cam_01"}, {"ai_038_007", "cam_00"}};

  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
    if (strcmp(scene, broken[i][0]) == 0 && strcmp(camera, broken[i][1]) == 0) return true;
  return false;
}

/* ---- a list of frames ---- */

enum { NAME_LEN = 64 };
typedef struct name {
  char text[NAME_LEN]; /* "ai_001_001/cam_00/3" */
} name;

struct ds_hypersim_names {
  name *at; /* by text */
  size_t n;
};

static int by_text(const void *a, const void *b) { return strcmp(((const name *)a)->text, ((const name *)b)->text); }

/* Of "ai_001_001/rgb_cam_00_fr0003.png ..." */
static bool take_name(const char *line, name *out) {
  const char *slash = strchr(line, '/'), *frame = slash ? strstr(slash, "_fr") : NULL;
  char *end;

  if (!frame || strncmp(slash, "/rgb_", 5) || frame < slash + 5) return false;
  const long number = strtol(frame + 3, &end, 10);
  if (end == frame + 3 || strncmp(end, ".png", 4) || number < 0) return false;
  const int n = snprintf(out->text, NAME_LEN, "%.*s/%.*s/%ld", (int)(slash - line), line, (int)(frame - slash - 5),
                         slash + 5, number);
  return n < NAME_LEN;
}

int ds_hypersim_names_open(const char *path, ds_hypersim_names **out) {
  int st = OK, line = 1;
  ds_hypersim_names *l = calloc(1, sizeof *l);
  char *text = NULL;
  size_t n, lines = 1;

  NEED(l, E_NOMEM, "%s: out of memory", path);
  TRY(io_read_file(path, LIST_MAX, &text, &n));
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  NEED((l->at = calloc(lines, sizeof *l->at)) != NULL, E_NOMEM, "%s: %zu lines", path, lines);
  for (char *at = text, *next; at && *at; at = next, line++) {
    if ((next = strchr(at, '\n'))) *next++ = 0;
    if (at[strspn(at, " \t\r")] == 0) continue;
    NEED(take_name(at, &l->at[l->n]), E_DATA,
         "%s:%d: wanted a line of Marigold's lists, ai_001_001/rgb_cam_00_fr0000.png ..., found '%.60s'", path, line,
         at);
    l->n++;
  }
  NEED(l->n > 0, E_DATA, "%s: no frames", path);
  qsort(l->at, l->n, sizeof *l->at, by_text);
  *out = l;
  l = NULL;
out:
  free(text);
  ds_hypersim_names_close(&l);
  return st;
}

void ds_hypersim_names_close(ds_hypersim_names **l) {
  if (!*l) return;
  free((*l)->at);
  free(*l);
  *l = NULL;
}

bool ds_hypersim_names_have(const ds_hypersim_names *l, const ds_hypersim_item *it) {
  name key;

  snprintf(key.text, NAME_LEN, "%.24s/%.16s/%d", it->scene, it->camera, it->frame);
  return bsearch(&key, l->at, l->n, sizeof key, by_text) != NULL;
}
