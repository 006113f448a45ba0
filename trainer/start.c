#include "trainer/start.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoints/state.h"
#include "trainer/model_export.h"

/* Is the checkpoint one of this run folder's own? */
static bool belongs(const char *checkpoint, const char *run_dir) {
  char own[IO_PATH_MAX], *a = NULL, *b = NULL;
  bool inside = false;

  if (io_path(own, "%s/checkpoints", run_dir) == OK && (a = realpath(own, NULL)) && (b = realpath(checkpoint, NULL)))
    inside = !strncmp(a, b, strlen(a)) && b[strlen(a)] == '/';
  free(a);
  free(b);
  return inside;
}

/* path: a checkpoint folder, or a run folder whose newest checkpoint is meant. */
static int find_named(const char *path, const ck_rundir *dir, char checkpoint[IO_PATH_MAX]) {
  int st = OK;
  char manifest[IO_PATH_MAX];
  bool found = true;

  NEED(io_is_dir(path), E_CKPT, "--resume=%s: no such folder", path);
  TRY(io_path(manifest, "%s/manifest.json", path));
  if (io_exists(manifest)) TRY(io_path(checkpoint, "%s", path));
  else TRY(ck_latest(path, checkpoint, &found));
  NEED(found, E_CKPT, "--resume=%s: neither a checkpoint nor a run folder with one", path);
  NEED(belongs(checkpoint, ck_rundir_path(dir)) || !ck_rundir_used(dir), E_CKPT,
       "--resume=%s: a checkpoint of another run, but %s holds a run of its own", path, ck_rundir_path(dir));
out:
  return st;
}

/* A checkpoint's config against the one of this call. */
static int compare_configs(const cf_config *c, const char *checkpoint, bool force) {
  int st = OK;
  char path[IO_PATH_MAX];
  cf_config *was = NULL;
  char *lines = NULL;
  bool matters = false;

  TRY(io_path(path, "%s/config.yaml", checkpoint));
  TRY_AS(E_CKPT, cf_load(path, NULL, 0, false, &was), "%s: its config", checkpoint);
  TRY(cf_diff(was, c, &lines, &matters));
  if (matters && !force)
    FAIL(E_CONFIG, "%s was made with other settings; put them back, choose another run.dir, or add --force:\n%s",
         checkpoint, lines);
  if (*lines) log_info("settings that differ from %s:\n%s", checkpoint, lines);
out:
  free(lines);
  cf_free(&was);
  return st;
}

/* The form to give away, where the run has one. */
static bool has_portable(const cf_config *c, const ck_rundir *dir) {
  const char *why;
  char path[IO_PATH_MAX];

  if (!tr_export_foldable(c, &why)) return true;
  return io_path(path, "%s/portable/unet/diffusion_pytorch_model.safetensors", ck_rundir_path(dir)) == OK && io_exists(path);
}

static int decide_auto(const cf_config *c, const ck_rundir *dir, tr_start *s) {
  int st = OK;
  bool found = false;

  TRY(ck_latest(ck_rundir_path(dir), s->checkpoint, &found));
  if (found) TRY(ck_step(s->checkpoint, &s->step));
  else s->checkpoint[0] = 0;
  s->finished = ck_rundir_finished(dir) && has_portable(c, dir) && (!found || s->step >= c->optim.steps);
  s->leftovers = !found && !s->finished;
out:
  return st;
}

int tr_start_decide(const cf_config *c, const ck_rundir *dir, const char *resume, bool force, tr_start *out) {
  int st = OK;
  tr_start s = {0};

  if (!resume) {
    NEED(!ck_rundir_used(dir), E_CKPT,
         "run.dir: %s holds a run already: --resume goes on with it, another run.dir starts a new one",
         ck_rundir_path(dir));
  } else if (!strcmp(resume, "auto")) {
    TRY(decide_auto(c, dir, &s));
  } else {
    s.named = true;
    TRY(find_named(resume, dir, s.checkpoint));
    TRY(ck_step(s.checkpoint, &s.step));
  }
  if (s.checkpoint[0] && !s.finished) {
    st = compare_configs(c, s.checkpoint, force);
    if (st == E_CKPT && force) log_warn("%s: not compared with the settings of now", err_text());
    else TRY(st);
    st = OK;
  }
  *out = s;
out:
  return st;
}

/* Weights of an earlier end must not make a later one look finished: out of the way first, then removed. */
static int remove_weights(const char *run_dir, const char *name) {
  int st = OK;
  char weights[IO_PATH_MAX], aside[IO_PATH_MAX];

  TRY(io_path(weights, "%s/%s", run_dir, name));
  TRY(io_path(aside, "%s/%s.tmp", run_dir, name));
  if (!io_exists(weights)) goto out;
  TRY(io_remove_tree(aside));
  TRY(io_rename(weights, aside));
  TRY(io_remove_tree(aside));
out:
  return st;
}

int tr_start_prepare(const tr_start *s, ck_rundir *dir) {
  int st = OK;

  if (s->leftovers) TRY(ck_rundir_clear(dir));
  if (s->checkpoint[0]) TRY(remove_weights(ck_rundir_path(dir), "model"));
  if (s->checkpoint[0]) TRY(remove_weights(ck_rundir_path(dir), "portable"));
  if (s->named) TRY(ck_drop_after(ck_rundir_path(dir), s->step));
out:
  return st;
}
