#include "checkpoints/best.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoints/history.h"
#include "checkpoints/manifest.h"

enum { BEST_MAX = 4096 };

static int best_path(char out[IO_PATH_MAX], const char *run_dir) { return io_path(out, "%s/checkpoints/best.json", run_dir); }

static int has_step(const char *run_dir, int64_t step, bool *out) {
  int st = OK;
  size_t n = 0;
  int64_t *steps = NULL;

  *out = false;
  TRY(ck_history_steps(run_dir, &steps, &n));
  for (size_t i = 0; i < n; i++) *out = *out || steps[i] == step;
out:
  free(steps);
  return st;
}

int ck_best_mark(const char *run_dir, const ck_best *best) {
  int st = OK;
  bool there;
  char path[IO_PATH_MAX], *text = NULL;
  json_t *o = NULL;

  TRY(best_path(path, run_dir));
  TRY(has_step(run_dir, best->step, &there));
  NEED(there, E_CKPT, "%s: there is no checkpoint of step %lld", path, (long long)best->step);
  o = json_pack("{s:I, s:s, s:f}", "step", (json_int_t)best->step, "metric", best->metric, "value", best->value);
  NEED(o, E_NOMEM, "%s: out of memory, or no number", path);
  TRY(ck_json_text(o, 0, path, &text));
  TRY(io_write_file(path, text, strlen(text)));
out:
  json_decref(o);
  free(text);
  return st == E_IO ? E_CKPT : st;
}

static bool parse(const char *text, size_t n, ck_best *out) {
  const char *metric = NULL;
  json_int_t step = 0;
  json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
  const bool good = o && json_unpack(o, "{s:I, s:s, s:F}", "step", &step, "metric", &metric, "value", &out->value) == 0 &&
                    strlen(metric) < sizeof out->metric;

  if (good) {
    out->step = step;
    strcpy(out->metric, metric);
  }
  json_decref(o);
  return good;
}

int ck_best_read(const char *run_dir, ck_best *out, bool *found) {
  int st = OK;
  bool there = false;
  char path[IO_PATH_MAX], *text = NULL;
  size_t n = 0;
  ck_best best = {0};

  TRY(best_path(path, run_dir));
  if (io_exists(path)) {
    TRY(io_read_file(path, BEST_MAX, &text, &n));
    if (parse(text, n, &best)) TRY(has_step(run_dir, best.step, &there));
    else log_warn("%s: damaged: no checkpoint is held to be the best", path);
  }
  if (there) *out = best;
  *found = there;
out:
  free(text);
  return st == E_IO || st == E_FORMAT ? E_CKPT : st;
}
