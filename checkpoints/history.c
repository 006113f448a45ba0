#include "checkpoints/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ck_history_path(char out[IO_PATH_MAX], const char *run_dir, int64_t step, const char *suffix) {
  return io_path(out, "%s/checkpoints/step-%06" PRId64 "%s", run_dir, step, suffix);
}

/* Reads "step-<digits><suffix>"; false for anything else, "step-7" included. */
static bool parse_name(const char *name, int64_t *step, const char **suffix) {
  char again[32];
  char *end;

  if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return false;
  *step = strtoll(name + 5, &end, 10);
  *suffix = end;
  const int n = snprintf(again, sizeof again, "step-%06" PRId64, *step);
  return n == end - name && memcmp(name, again, (size_t)n) == 0;
}

/* Names in RUN/checkpoints, none when there is no such folder. */
static int list_names(const char *run_dir, char ***names, size_t *n) {
  int st = OK;
  char dir[IO_PATH_MAX];

  *names = NULL;
  *n = 0;
  TRY(io_path(dir, "%s/checkpoints", run_dir));
  if (io_exists(dir)) TRY(io_list_dir(dir, names, n));
out:
  return st;
}

static int by_value(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

int ck_history_steps(const char *run_dir, int64_t **steps, size_t *n) {
  int st = OK;
  size_t count = 0, found = 0;
  char **names = NULL;
  const char *suffix;
  int64_t *list = NULL;

  TRY(list_names(run_dir, &names, &count));
  NEED((list = malloc((count + 1) * sizeof *list)) != NULL, E_NOMEM, "%s/checkpoints: %zu names", run_dir, count);
  for (size_t i = 0; i < count; i++) found += parse_name(names[i], &list[found], &suffix) && !*suffix;
  qsort(list, found, sizeof *list, by_value);
  *steps = list;
  *n = found;
  list = NULL;
out:
  free(list);
  io_free_names(&names, count);
  return st;
}

/* What to do with one leftover. */
static int clean_one(const char *run_dir, const char *name) {
  int st = OK;
  int64_t step;
  const char *suffix;
  char path[IO_PATH_MAX], whole[IO_PATH_MAX];

  if (!parse_name(name, &step, &suffix)) return OK;
  TRY(ck_history_path(path, run_dir, step, suffix));
  TRY(ck_history_path(whole, run_dir, step, ""));
  if (strcmp(suffix, ".old") == 0 && !io_exists(whole)) {
    TRY(io_rename(path, whole));
    TRY(io_sync_parent(whole));
  } else if (strcmp(suffix, ".tmp") == 0 || strcmp(suffix, ".del") == 0 || strcmp(suffix, ".old") == 0) {
    TRY(io_remove_tree(path));
  }
out:
  return st;
}

int ck_history_clean(const char *run_dir) {
  int st = OK;
  size_t n = 0;
  char **names = NULL;

  TRY(list_names(run_dir, &names, &n));
  for (size_t i = 0; i < n; i++) TRY(clean_one(run_dir, names[i]));
out:
  io_free_names(&names, n);
  return st;
}

/* Moves the folder of the same step out of the way, and back when the new one cannot take its place. */
static int swap_in(const char *tmp, const char *whole, const char *old) {
  int st = OK;

  TRY(io_rename(whole, old));
  TRY(io_sync_parent(whole));
  TRY(io_rename(tmp, whole));
out:
  if (st != OK && !io_exists(whole)) {
    err_saved why;
    err_save(&why);
    io_rename(old, whole);
    err_restore(&why);
  }
  return st;
}

int ck_history_publish(const char *run_dir, int64_t step) {
  int st = OK;
  char tmp[IO_PATH_MAX], whole[IO_PATH_MAX], old[IO_PATH_MAX];

  TRY(ck_history_path(tmp, run_dir, step, ".tmp"));
  TRY(ck_history_path(whole, run_dir, step, ""));
  TRY(ck_history_path(old, run_dir, step, ".old"));
  TRY(io_exists(whole) ? swap_in(tmp, whole, old) : io_rename(tmp, whole));
  TRY(io_sync_parent(whole));
out:
  return st;
}

int ck_history_remove(const char *run_dir, int64_t step) {
  int st = OK;
  char whole[IO_PATH_MAX], del[IO_PATH_MAX];

  TRY(ck_history_path(whole, run_dir, step, ""));
  TRY(ck_history_path(del, run_dir, step, ".del"));
  TRY(io_rename(whole, del)); /* half a checkpoint must not carry the name of a whole one */
  TRY(io_sync_parent(del));
  TRY(io_remove_tree(del));
out:
  return st;
}
