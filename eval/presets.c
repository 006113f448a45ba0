#include "eval/presets.h"

#include <math.h>
#include <string.h>

enum { SETS = 5 };

static const ev_preset presets[] = {
    {"one-step", "1 step, trailing, zeros", 1, 1, MD_DDIM, MD_TRAILING, MD_ZEROS},
    {"gaussian", "1 step, trailing, gaussian", 1, 1, MD_DDIM, MD_TRAILING, MD_GAUSSIAN},
    {"pyramid", "1 step, trailing, pyramid", 1, 1, MD_DDIM, MD_TRAILING, MD_PYRAMID},
    {"leading", "1 step, leading, gaussian", 1, 1, MD_DDIM, MD_LEADING, MD_GAUSSIAN},
    {"ensemble", "50 steps, leading, gaussian, ensemble 10", 50, 10, MD_DDIM, MD_LEADING, MD_GAUSSIAN},
    {"lcm", "LCM, 1 step, gaussian", 1, 1, MD_LCM, MD_TRAILING, MD_GAUSSIAN},
};
enum { PRESETS = sizeof presets / sizeof *presets };

/* One published row: two numbers a set, in the order of the sets' names below; 0 where none is published.
 * E2E-FT (arXiv 2409.11355) tables 1 to 3 and its repository's README. */
typedef struct published {
  const char *label;
  double at[SETS][2];
} published;

static const char *const depth_sets[SETS] = {"nyuv2", "kitti", "eth3d", "scannet", "diode"};
static const published depth_rows[] = {
    {"Marigold, 50 steps, ensemble 10", {{5.5, 96.4}, {9.9, 91.6}, {6.5, 96.0}, {6.4, 95.1}, {30.8, 77.3}}},
    {"Marigold LCM, 1 step", {{6.5, 95.4}, {10.7, 89.9}, {7.5, 94.5}, {7.6, 93.8}, {31.5, 76.3}}},
    {"Marigold, 1 step, trailing", {{5.7, 96.2}, {10.8, 89.6}, {6.9, 95.5}, {6.6, 95.2}, {31.1, 76.8}}},
    {"SD + E2E-FT, 1 step", {{5.4, 96.5}, {9.6, 92.1}, {6.4, 95.9}, {5.8, 96.5}, {30.3, 77.6}}},
    {"Marigold + E2E-FT, 1 step", {{5.2, 96.6}, {9.6, 91.9}, {6.2, 95.9}, {5.8, 96.2}, {30.2, 77.9}}},
    {"GeoWizard + E2E-FT (its network comes later)", {{5.6, 0}, {9.8, 0}, {6.3, 0}, {5.9, 0}, {30.6, 0}}},
};
static const char *const normals_sets[SETS] = {"nyuv2_normals", "scannet_normals", "ibims_normals", "sintel_normals",
                                               "oasis_normals"};
static const published normals_rows[] = {
    {"Marigold, 50 steps, ensemble 10", {{18.8, 55.9}, {17.7, 58.8}, {18.4, 64.3}, {39.1, 14.9}, {0, 0}}},
    {"Marigold, 1 step, trailing", {{17.4, 56.5}, {16.8, 57.6}, {18.1, 62.9}, {37.1, 15.7}, {0, 0}}},
    {"SD + E2E-FT, 1 step", {{16.5, 60.4}, {14.7, 66.1}, {16.1, 69.7}, {33.5, 22.3}, {23.2, 29.4}}},
    {"Marigold + E2E-FT, 1 step", {{16.2, 61.4}, {14.7, 66.0}, {15.8, 69.9}, {33.5, 21.5}, {0, 0}}},
    {"GeoWizard + E2E-FT (its network comes later)", {{16.1, 60.7}, {15.3, 63.6}, {16.2, 69.4}, {33.4, 22.4}, {0, 0}}},
};

static const ev_preset *find(const char *name, size_t n) {
  for (int i = 0; i < PRESETS; i++)
    if (strlen(presets[i].name) == n && !strncmp(presets[i].name, name, n)) return &presets[i];
  return NULL;
}

int ev_presets_choose(const char *text, const ev_preset **chosen, int *n) {
  int st = OK;

  *n = 0;
  if (!strcmp(text, "all")) {
    for (; *n < PRESETS; ++*n) chosen[*n] = &presets[*n];
    return OK;
  }
  for (const char *at = text;; at++) {
    const size_t length = strcspn(at, ",");
    NEED(*n < EV_PRESETS_MAX, E_CONFIG, "--preset: more than %d", EV_PRESETS_MAX);
    NEED((chosen[*n] = find(at, length)) != NULL, E_CONFIG,
         "--preset: wanted all or names of one-step, gaussian, pyramid, leading, ensemble, lcm; found '%.*s'", (int)length, at);
    ++*n;
    at += length;
    if (!*at) break;
  }
out:
  return st;
}

void ev_presets_apply(const ev_preset *p, ev_predict_opts *o) {
  o->steps = p->steps;
  o->ensemble = p->ensemble;
  o->sampler = p->sampler;
  o->spacing = p->spacing;
  o->noise = p->noise;
}

/* ---- table ---- */

enum { LABEL_WIDTH = 46 };

/* The paper's two numbers of a set. */
static void put_pair(double a, double b, int digits, FILE *f) {
  if (!(a > 0) && !(b > 0)) fprintf(f, " %17s", "-");
  else if (!(b > 0)) fprintf(f, " %9.*f /      -", digits, a);
  else fprintf(f, " %9.*f / %5.1f", digits, a, b);
}

static void put_result(const ev_result *r, FILE *f) {
  if (r->n == r->failed) fprintf(f, " %17s", "not measured");
  else if (ev_set_task(r->set) == EV_DEPTH) put_pair(100 * r->m.depth.abs_rel, 100 * r->m.depth.delta1, 1, f);
  else put_pair(r->m.normals.mean, r->m.normals.below_11_25, 1, f);
}

static const char *short_name(const ev_set *s) { return ev_set_protocol(s) ? ev_set_protocol(s)->name : ev_set_name(s); }

static int place_of(const char *const *names, const char *name) {
  for (int i = 0; i < SETS; i++)
    if (!strcmp(names[i], name)) return i;
  return -1;
}

static void print_published(const published *rows, size_t n, const char *const *names, const ev_result *results, int n_sets, FILE *f) {
  for (size_t r = 0; r < n; r++) {
    fprintf(f, "%-*s", LABEL_WIDTH, rows[r].label);
    for (int s = 0; s < n_sets; s++) {
      const int at = place_of(names, short_name(results[s].set));
      put_pair(at < 0 ? 0 : rows[r].at[at][0], at < 0 ? 0 : rows[r].at[at][1], 1, f);
    }
    fputc('\n', f);
  }
}

void ev_presets_print(const ev_preset *const *chosen, int n_presets, const ev_result *results, int n_sets, FILE *f) {
  const bool depth = ev_set_task(results[0].set) == EV_DEPTH;

  fprintf(f, "%-*s", LABEL_WIDTH, depth ? "abs_rel / delta1, per cent" : "mean degrees / per cent below 11.25");
  for (int s = 0; s < n_sets; s++) fprintf(f, " %17.17s", short_name(results[s].set));
  fputc('\n', f);
  for (int p = 0; p < n_presets; p++) {
    fprintf(f, "%-*s", LABEL_WIDTH, chosen[p]->label);
    for (int s = 0; s < n_sets; s++) put_result(&results[p * n_sets + s], f);
    fputc('\n', f);
  }
  fprintf(f, "published (E2E-FT, tables 1 to 3):\n");
  if (depth) print_published(depth_rows, sizeof depth_rows / sizeof *depth_rows, depth_sets, results, n_sets, f);
  else print_published(normals_rows, sizeof normals_rows / sizeof *normals_rows, normals_sets, results, n_sets, f);
}
