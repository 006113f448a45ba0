#include "checkpoints/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "checkpoints/history.h"

struct ck_rundir {
  char path[IO_PATH_MAX];
  int lock; /* -1: not held */
};

/* What a run makes in its folder. Not the lock. */
static const char *const made[] = {"config.yaml", "run.json",   "metrics.jsonl", "log.txt",  "tensorboard",
                                   "validation",  "checkpoints", "nonfinite",    "model",    "portable"};
enum { NMADE = sizeof made / sizeof *made };
static const char *const beside[] = {"", ".tmp", ".old"}; /* of the names above */

static int in_dir(char out[IO_PATH_MAX], const ck_rundir *r, const char *name, const char *suffix) {
  return io_path(out, "%s/%s%s", r->path, name, suffix);
}

static bool has(const ck_rundir *r, const char *name, const char *suffix) {
  char path[IO_PATH_MAX];
  return in_dir(path, r, name, suffix) == OK && io_exists(path);
}

/* ---- lock ---- */

static int take_lock(ck_rundir *r) {
  int st = OK;
  char path[IO_PATH_MAX], pid[24];
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

  TRY(in_dir(path, r, "lock", ""));
  r->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  NEED(r->lock >= 0, err_of_errno(errno, E_CKPT), "%s: cannot open: %s", path, strerror(errno));
  if (fcntl(r->lock, F_SETLK, &l) != 0) {
    const int why = errno;
    NEED(why == EACCES || why == EAGAIN, err_of_errno(why, E_CKPT), "%s: cannot lock: %s", path, strerror(why));
    if (fcntl(r->lock, F_GETLK, &l) != 0 || l.l_type == F_UNLCK) l.l_pid = 0; /* it ended just now */
    FAIL(E_CKPT, "%s: is used by another trainer (pid %ld)", r->path, (long)l.l_pid);
  }
  const int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
  NEED(ftruncate(r->lock, 0) == 0 && pwrite(r->lock, pid, (size_t)n, 0) == n, err_of_errno(errno, E_CKPT),
       "%s: cannot write: %s", path, strerror(errno));
out:
  return st;
}

int ck_rundir_open(const char *path, ck_rundir **out) {
  int st = OK;
  ck_rundir *r = calloc(1, sizeof *r);

  NEED(r, E_NOMEM, "%s: out of memory", path);
  r->lock = -1;
  TRY(io_path(r->path, "%s", path));
  TRY(io_make_dirs(path));
  TRY(take_lock(r));
  TRY(ck_history_clean(path));
  *out = r;
  r = NULL;
out:
  ck_rundir_close(&r);
  return st == E_IO ? E_CKPT : st;
}

void ck_rundir_close(ck_rundir **r) {
  if (!*r) return;
  if ((*r)->lock >= 0) close((*r)->lock); /* the file stays: removing it would race with who opens it next */
  free(*r);
  *r = NULL;
}

const char *ck_rundir_path(const ck_rundir *r) { return r->path; }

/* ---- state of the folder ---- */

static bool has_checkpoint(const ck_rundir *r) {
  size_t n = 0;
  int64_t *steps = NULL;

  if (ck_history_steps(r->path, &steps, &n) != OK) return true; /* something is there, or it could be listed */
  free(steps);
  return n > 0;
}

bool ck_rundir_used(const ck_rundir *r) {
  static const char *const signs[] = {"config.yaml", "run.json", "metrics.jsonl", "model", "portable"};

  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
    if (has(r, signs[i], "")) return true;
  return has_checkpoint(r);
}

bool ck_rundir_finished(const ck_rundir *r) {
  return has(r, "model/unet/config.json", "") && has(r, "model/unet/diffusion_pytorch_model.safetensors", "") &&
         !has(r, "model", ".tmp") && !has(r, "portable", ".tmp");
}

int ck_rundir_clear(ck_rundir *r) {
  int st = OK;
  char path[IO_PATH_MAX];

  for (size_t i = 0; i < NMADE; i++) {
    for (size_t k = 0; k < sizeof beside / sizeof *beside; k++) {
      TRY(in_dir(path, r, made[i], beside[k]));
      TRY(io_remove_tree(path));
    }
  }
  TRY(io_sync_dir(r->path));
out:
  return st == E_IO ? E_CKPT : st;
}

/* ---- metrics ---- */

/* The step of a line of n bytes, or -1 when it is no such line. */
static int64_t step_of(const char *line, size_t n) {
  int64_t step = -1;
  json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
  const json_t *v = json_object_get(o, "step");

  if (json_is_integer(v)) step = json_integer_value(v);
  json_decref(o);
  return step;
}

/* Moves the lines to keep to the front of text; returns their bytes. */
static size_t cut_back(char *text, size_t n, int64_t step, const char *path) {
  size_t kept = 0, length;
  int64_t last = 0;

  for (size_t at = 0; at < n; at += length) {
    const char *end = memchr(text + at, '\n', n - at);
    length = end ? (size_t)(end + 1 - (text + at)) : n - at;
    const int64_t s = end ? step_of(text + at, length) : -1;
    if (end && s < 1) log_warn("%s: a line that is no step's, after step %lld, is dropped", path, (long long)last);
    if (s <= last || s > step) continue;
    memmove(text + kept, text + at, length);
    kept += length;
    last = s;
  }
  return kept;
}

int ck_lines_open(ck_rundir *r, const char *name, int64_t step, io_file *f) {
  int st = OK;
  char path[IO_PATH_MAX], *text = NULL;
  size_t n = 0, kept;

  f->fd = -1;
  TRY(in_dir(path, r, name, ""));
  if (io_exists(path)) {
    TRY(io_read_file(path, PTRDIFF_MAX - 1, &text, &n));
    kept = cut_back(text, n, step, path);
    if (kept != n) TRY(io_write_file(path, text, kept));
  }
  TRY(io_append(path, f));
  TRY(io_sync_parent(path)); /* the name of a new file must last as long as the lines synced into it */
out:
  if (st != OK) io_discard(f, "");
  free(text);
  return st == E_IO ? E_CKPT : st;
}

int ck_metrics_open(ck_rundir *r, int64_t step, io_file *f) { return ck_lines_open(r, "metrics.jsonl", step, f); }
