/* The save protocol against power cuts: a run's calls are recorded, replayed on a model of a disk, cut at every call in
 * many ways, and what is left is opened as the next trainer would. Then the same with protocols that are broken on purpose,
 * each of which must be caught: otherwise the model would prove nothing. */
#include <xxhash.h>

#include "base/log.h"
#include "base/safetensors.h"
#include "checkpoints/best.h"
#include "checkpoints/history.h"
#include "checkpoints/rundir.h"
#include "tests/support/disk_model.h"
#include "tests/support/tiny_state.h"
#include "tests/support/tmpdir.h"

/* Notes in the log: a save of that step returned; the run goes on from that step; that step was marked as the best. */
enum { SAVED, GIVEN_UP, BEST, NOTHING };
enum { LINE_MAX = 64, JOURNAL_CUTS = 55, ANY_CUTS = 180 };

/* ---- the run ---- */

static void line_of(int64_t step, char out[LINE_MAX]) {
  snprintf(out, LINE_MAX, "{\"step\": %lld, \"loss\": %lld.5}\n", (long long)step, (long long)step * 3);
}

static void train_to(const char *dir, disk_log *log, io_file *metrics, int64_t from, int64_t to, int keep) {
  char line[LINE_MAX];
  tiny_state t;

  for (int64_t step = from + 1; step <= to; step++) {
    line_of(step, line);
    check_ok(io_write(metrics, line, strlen(line)));
  }
  check_ok(io_sync(metrics));
  tiny_init(&t, to, 1);
  check_ok(ck_save(dir, &t.s, keep));
  disk_note(log, SAVED, to);
}

static void mark(const char *dir, disk_log *log, int64_t step) {
  check_ok(ck_best_mark(dir, &(ck_best){.step = step, .metric = "depth.abs_rel", .value = 0.5}));
  disk_note(log, BEST, step);
}

/* Everything a run does to its folder: first save, pruning, marks, the same step again, going back to an older one. */
static void record_run(const char *dir, disk_log *log) {
  ck_rundir *r = NULL;
  io_file f;

  disk_record(log, dir);
  check_ok(ck_rundir_open(dir, &r));
  check_ok(ck_metrics_open(r, 0, &f));
  train_to(dir, log, &f, 0, 2, 1);
  train_to(dir, log, &f, 2, 4, 1);
  mark(dir, log, 4);
  train_to(dir, log, &f, 4, 6, 1);
  train_to(dir, log, &f, 6, 7, 1);
  mark(dir, log, 7);
  train_to(dir, log, &f, 7, 9, 2);
  train_to(dir, log, &f, 9, 9, 2); /* the same step again */
  train_to(dir, log, &f, 9, 11, 2);
  check_ok(io_close(&f));
  disk_note(log, GIVEN_UP, 9);
  check_ok(ck_drop_after(dir, 9));
  check_ok(ck_metrics_open(r, 9, &f));
  train_to(dir, log, &f, 9, 10, 2);
  train_to(dir, log, &f, 10, 12, 1);
  check_ok(io_close(&f));
  disk_record(NULL, NULL);
  ck_rundir_close(&r);
}

/* ---- what is left ---- */

typedef struct promise { int64_t saved, best, next_best; } promise;

static promise promise_at(const disk_log *log, int at) {
  promise p = {0};

  for (int i = 0; i < at; i++) {
    if (log->op[i].kind != DISK_NOTE) continue;
    if (log->op[i].note == BEST) p.best = log->op[i].value;
    else if (log->op[i].note != NOTHING) p.saved = log->op[i].value;
  }
  p.next_best = p.best;
  for (int i = log->n - 1; i >= at; i--)
    if (log->op[i].kind == DISK_NOTE && log->op[i].note == BEST) p.next_best = log->op[i].value;
  return p;
}

static bool holds_state_of(const tiny_state *got, int64_t step) {
  tiny_state want;

  tiny_init(&want, step, 1);
  for (int b = 0; b < 4; b++)
    if (memcmp(want.buffers[b], got->buffers[b], sizeof want.buffers[b])) return false;
  return true;
}

/* The next trainer's way: the newest that verifies. 0 for none, -1 for one with wrong values. */
static int64_t find_verified(const char *dir) {
  char path[IO_PATH_MAX];
  bool found = false;
  tiny_state got;

  tiny_blank(&got, 1);
  if (ck_latest(dir, path, &found) != OK || !found || ck_load(path, &got.s, NULL) != OK) return 0;
  return holds_state_of(&got, got.s.step) && got.s.adam_t == got.s.step - 1 ? got.s.step : -1;
}

/* Another way, common elsewhere: the newest that has a manifest, its hashes not looked at. */
static int64_t find_trusting(const char *dir) {
  static const char *const files[4] = {"weights", "adam_m", "adam_v", "ema"};
  char path[IO_PATH_MAX], file[IO_PATH_MAX];
  int64_t *steps = NULL, step = 0;
  size_t n = 0;
  tiny_state want;
  bool whole = true, wrong = false;

  check_ok(ck_history_steps(dir, &steps, &n));
  while (n-- && !step) {
    check_ok(ck_history_path(path, dir, steps[n], ""));
    check_ok(io_path(file, "%s/manifest.json", path));
    if (io_exists(file)) step = steps[n];
  }
  free(steps);
  tiny_init(&want, step, 1);
  for (int b = 0; b < 4 && step; b++) {
    st_file *f = NULL;
    check_ok(io_path(file, "%s/%s.safetensors", path, files[b]));
    if (st_open(file, &f) != OK) whole = false;
    for (int i = 0; f && i < TINY_PARAMS; i++) {
      const st_tensor *t = st_find(f, tiny_params[i].name);
      const float *values = want.buffers[b] + tiny_params[i].offset;
      wrong = wrong || (t && t->nbytes && memcmp(t->data, values, t->nbytes) != 0);
      whole = whole && t;
    }
    st_close(&f);
  }
  return wrong ? -1 : whole ? step : 0;
}

/* Each step up to this one has its line, once, and nothing else is there. */
static bool has_lines(ck_rundir *r, const char *dir, int64_t step) {
  char want[32 * LINE_MAX] = "", path[IO_PATH_MAX], *text = NULL;
  size_t n = 0;
  io_file f;

  for (int64_t s = 1; s <= step; s++) line_of(s, want + strlen(want));
  check_ok(ck_metrics_open(r, step, &f));
  check_ok(io_close(&f));
  check_ok(io_path(path, "%s/metrics.jsonl", dir));
  check_ok(io_read_file(path, 1 << 20, &text, &n));
  const bool same = n == strlen(want) && memcmp(text, want, n) == 0;
  free(text);
  return same;
}

static bool has_best(const char *dir, const promise *p) {
  ck_best best;
  bool found = false;
  char path[IO_PATH_MAX];
  tiny_state got;

  if (!p->best) return true;
  check_ok(ck_best_read(dir, &best, &found));
  if (!found || (best.step != p->best && best.step != p->next_best)) return false;
  tiny_blank(&got, 1);
  check_ok(ck_history_path(path, dir, best.step, ""));
  return ck_load(path, &got.s, NULL) == OK && holds_state_of(&got, best.step);
}

typedef int64_t (*finder)(const char *dir);
static const char wrong_values[] = "wrong values";

/* NULL, or which promise is broken. The image is written below dir, which is empty before and after. */
static const char *judge(const disk_image *image, const promise *p, finder find, const char *dir) {
  const char *broken = NULL;
  ck_rundir *r = NULL;

  disk_image_write(image, dir);
  check_ok(ck_rundir_open(dir, &r));
  const int64_t step = find(dir);
  if (step < 0) broken = wrong_values;
  else if (step < p->saved) broken = "lost";
  else if (!has_lines(r, dir, step)) broken = "lines of metrics.jsonl";
  else if (!has_best(dir, p)) broken = "the best";
  ck_rundir_close(&r);
  check_ok(io_remove_tree(dir));
  check_ok(io_make_dirs(dir));
  return broken;
}

/* ---- cutting everywhere ---- */

/* States that were judged already, by hash. */
typedef struct seen_states { uint64_t *slot; size_t room, n; } seen_states;

static bool seen_before(seen_states *s, const disk_image *m, const promise *p) {
  XXH3_state_t *h = XXH3_createState();

  assert_non_null(h);
  XXH3_64bits_reset_withSeed(h, (XXH64_hash_t)(p->saved * 1000000 + p->best * 1000 + p->next_best));
  for (int i = 0; i < m->n; i++) {
    XXH3_64bits_update(h, m->file[i].path, strlen(m->file[i].path) + 1);
    XXH3_64bits_update(h, &m->file[i].n, sizeof m->file[i].n);
    XXH3_64bits_update(h, m->file[i].data, m->file[i].n);
  }
  const uint64_t key = XXH3_64bits_digest(h) | 1;
  XXH3_freeState(h);
  if (!s->slot) assert_non_null(s->slot = calloc(s->room = 1 << 20, sizeof *s->slot));
  size_t at = key % s->room;
  for (; s->slot[at]; at = (at + 1) % s->room)
    if (s->slot[at] == key) return true;
  assert_true(s->n++ < s->room / 2);
  s->slot[at] = key;
  return false;
}

typedef struct tally { int states, distinct, broken, wrong; const char *first; } tally;

/* Cuts after every call of the log, `cuts` times each; stops at the first broken promise when one is enough. */
static tally cut_everywhere(const disk_log *log, disk_mode mode, int cuts, finder find, const char *dir, bool stop) {
  tally t = {0};
  disk *d = disk_create(mode);
  disk_image *image = calloc(1, sizeof *image);
  seen_states seen = {0};
  uint64_t random = 1;

  assert_non_null(image);
  for (int i = 0; i < log->n && !(stop && t.broken); i++) {
    disk_apply(d, &log->op[i]);
    const promise p = promise_at(log, i + 1);
    for (int k = 0; k < cuts && !(stop && t.broken); k++) {
      disk_crash(d, &random, image);
      t.states++;
      if (!seen_before(&seen, image, &p)) {
        const char *broken = judge(image, &p, find, dir);
        t.distinct++;
        if (broken && !t.first) t.first = broken;
        t.broken += broken != NULL;
        t.wrong += broken && strcmp(broken, wrong_values) == 0;
      }
      disk_image_fini(image);
    }
  }
  disk_destroy(d);
  free(image);
  free(seen.slot);
  return t;
}

static const int cuts_of[DISK_MODES] = {1, JOURNAL_CUTS, ANY_CUTS};

static void the_protocol_keeps_its_promises(void **state) {
  static const char *const names[DISK_MODES] = {"kill -9", "ordered journal", "any subset"};
  disk_log log = {0};
  int states = 0;

  check_ok(io_make_dirs(tmpdir_at(state, "run")));
  check_ok(io_make_dirs(tmpdir_at(state, "after")));
  record_run(tmpdir_at(state, "run"), &log);
  for (int mode = 0; mode < DISK_MODES; mode++) {
    const tally v = cut_everywhere(&log, mode, cuts_of[mode], find_verified, tmpdir_at(state, "after"), false);
    const tally w = cut_everywhere(&log, mode, 1 + cuts_of[mode] / 10, find_trusting, tmpdir_at(state, "after"), false);
    print_message("%d calls, %s: %d states, %d of them distinct: %d broken\n", log.n, names[mode], v.states + w.states,
                  v.distinct + w.distinct, v.broken + w.broken);
    if (v.broken || w.broken) fail_msg("%s", v.first ? v.first : w.first);
    states += v.states + w.states;
  }
  assert_true(states >= 100000);
  disk_log_fini(&log);
}

/* ---- broken on purpose ---- */

static bool ends(const char *path, const char *with) {
  const size_t n = strlen(path), k = strlen(with);
  return n >= k && strcmp(path + n - k, with) == 0;
}

/* A call into the temporary folder of a checkpoint. */
static bool in_tmp(const disk_op *o) { return strstr(o->path, "step-") && strstr(o->path, ".tmp"); }
static bool publishes(const disk_op *o) { return o->kind == DISK_RENAME && ends(o->path, ".tmp") && strstr(o->path, "step-"); }
static bool saved(const disk_op *o) { return o->kind == DISK_NOTE && o->note == SAVED; }
static bool makes_tmp(const disk_op *o) { return o->kind == DISK_MKDIR && in_tmp(o); }
static bool syncs(const disk_op *o, const char *file) { return o->kind == DISK_SYNC && ends(o->path, file); }
static bool syncs_folder(const disk_op *o, const char *path) { return o->kind == DISK_SYNC_FOLDER && strcmp(o->path, path) == 0; }
static bool prunes(const disk_op *o) { return strstr(o->path, ".del") || (o->kind == DISK_RENAME && strstr(o->to, ".del")); }
static bool is_metrics(const disk_op *o) { return (o->kind == DISK_WRITE || o->kind == DISK_SYNC) && ends(o->path, "metrics.jsonl"); }

static void no_call(disk_op *o) { *o = (disk_op){.kind = DISK_NOTE, .note = NOTHING, .data = o->data}; }

/* The calls of one save that `which` picks go to where `place` is, ahead of it, in their order. Only backwards or forwards
 * within the save, which ends with its note. */
static void move_calls(disk_log *log, bool (*which)(const disk_op *), bool (*place)(const disk_op *)) {
  disk_op *held = calloc((size_t)log->n, sizeof *held), *rest = calloc((size_t)log->n, sizeof *rest);

  assert_true(held && rest);
  for (int begin = 0, end; begin < log->n; begin = end) {
    int h = 0, k = 0, n = 0, at = -1;
    for (end = begin; end < log->n && !saved(&log->op[end]); end++) continue;
    end += end < log->n;
    for (int i = begin; i < end; i++) {
      if (which(&log->op[i])) {
        held[h++] = log->op[i];
        continue;
      }
      if (at < 0 && place(&log->op[i])) at = k;
      rest[k++] = log->op[i];
    }
    if (at < 0) continue; /* no such place here: the save stays as it is */
    for (int i = 0; i <= k; i++) {
      for (int j = 0; i == at && j < h; j++) log->op[begin + n++] = held[j];
      if (i < k) log->op[begin + n++] = rest[i];
    }
  }
  free(held);
  free(rest);
}

static void without(char *path, const char *part) {
  char *at = strstr(path, part);
  if (at) memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
}

static void break_weights(disk_log *l) { for (int i = 0; i < l->n; i++) if (syncs(&l->op[i], "weights.safetensors")) no_call(&l->op[i]); }
static void break_manifest(disk_log *l) { for (int i = 0; i < l->n; i++) if (syncs(&l->op[i], "manifest.json")) no_call(&l->op[i]); }
static void break_config(disk_log *l) { for (int i = 0; i < l->n; i++) if (syncs(&l->op[i], "config.yaml")) no_call(&l->op[i]); }
static void break_files(disk_log *l) { for (int i = 0; i < l->n; i++) if (l->op[i].kind == DISK_SYNC && in_tmp(&l->op[i])) no_call(&l->op[i]); }
static void break_folder(disk_log *l) { for (int i = 0; i < l->n; i++) if (l->op[i].kind == DISK_SYNC_FOLDER && in_tmp(&l->op[i])) no_call(&l->op[i]); }
static void break_parent(disk_log *l) { for (int i = 0; i < l->n; i++) if (syncs_folder(&l->op[i], "checkpoints")) no_call(&l->op[i]); }
static void break_run_folder(disk_log *l) { for (int i = 0; i < l->n; i++) if (syncs_folder(&l->op[i], "")) no_call(&l->op[i]); }
static void break_lines(disk_log *l) { for (int i = 0; i < l->n; i++) if (syncs(&l->op[i], "metrics.jsonl")) no_call(&l->op[i]); }

/* The sync after the rename alone: pruning, which syncs too, comes before it is safe. */
static void break_publish(disk_log *l) {
  for (int i = 0; i + 1 < l->n; i++)
    if (publishes(&l->op[i]) && syncs_folder(&l->op[i + 1], "checkpoints")) no_call(&l->op[i + 1]);
}

static bool file_syncs(const disk_op *o) { return (o->kind == DISK_SYNC || o->kind == DISK_SYNC_FOLDER) && in_tmp(o); }
static void break_sync_last(disk_log *l) { move_calls(l, file_syncs, saved); }
static void break_early_prune(disk_log *l) { move_calls(l, prunes, makes_tmp); }
static void break_prune_unsynced(disk_log *l) { break_publish(l); move_calls(l, file_syncs, saved); }
static void break_lines_last(disk_log *l) { move_calls(l, is_metrics, saved); }

/* No temporary folder: files are written under the checkpoint's own name. */
static void break_in_place(disk_log *l) {
  for (int i = 0; i < l->n; i++) {
    disk_op *o = &l->op[i];
    if (publishes(o) || strstr(o->path, ".old") || strstr(o->to, ".old")) no_call(o);
    else if (in_tmp(o)) without(o->path, ".tmp");
  }
}

static bool of_manifest(const disk_op *o) { return ends(o->path, "/manifest.json") && o->kind <= DISK_SYNC && in_tmp(o); }
static bool opens_weights(const disk_op *o) { return o->kind == DISK_OPEN && ends(o->path, "weights.safetensors"); }
static void break_manifest_first(disk_log *l) { move_calls(l, of_manifest, opens_weights); break_in_place(l); }

/* The checkpoint that is to be replaced goes first. */
static bool drops_old(const disk_op *o) { return o->kind == DISK_REMOVE && strstr(o->path, ".old"); }
static void break_replace(disk_log *l) { move_calls(l, drops_old, publishes); }

static void break_cut_in_place(disk_log *l) {
  for (int i = 0; i < l->n; i++) {
    disk_op *o = &l->op[i];
    if (!ends(o->path, "metrics.jsonl.tmp")) continue;
    if (o->kind == DISK_RENAME) no_call(o);
    else without(o->path, ".tmp");
  }
}

static void break_best(disk_log *l) {
  for (int i = 0; i < l->n; i++) {
    disk_op *o = &l->op[i];
    if (!ends(o->path, "best.json.tmp")) continue;
    if (o->kind == DISK_RENAME) no_call(o);
    else without(o->path, ".tmp");
  }
}

static const struct { const char *what; void (*change)(disk_log *); finder find; } broken[] = {
    {"weights not synced", break_weights, find_verified},
    {"manifest not synced", break_manifest, find_verified},
    {"config not synced", break_config, find_verified},
    {"no file synced", break_files, find_verified},
    {"no file synced, no hash looked at", break_files, find_trusting},
    {"checkpoint's folder not synced", break_folder, find_verified},
    {"folder of checkpoints not synced", break_parent, find_verified},
    {"run folder not synced", break_run_folder, find_verified},
    {"rename not synced before pruning", break_publish, find_verified},
    {"files synced after rename and pruning", break_sync_last, find_verified},
    {"neither rename nor files synced before pruning", break_prune_unsynced, find_verified},
    {"pruned before the new one is there", break_early_prune, find_verified},
    {"written in place", break_in_place, find_verified},
    {"in place, manifest first, no hash looked at", break_manifest_first, find_trusting},
    {"same step: old one removed first", break_replace, find_verified},
    {"metrics not synced", break_lines, find_verified},
    {"metrics written after the checkpoint", break_lines_last, find_verified},
    {"metrics cut in place", break_cut_in_place, find_verified},
    {"best marked in place", break_best, find_verified},
};

static void broken_protocols_are_caught(void **state) {
  check_ok(io_make_dirs(tmpdir_at(state, "after")));
  for (size_t b = 0; b < sizeof broken / sizeof *broken; b++) {
    disk_log log = {0};
    const char *run = tmpdir_at(state, "run%zu", b);
    tally t[DISK_MODES];

    check_ok(io_make_dirs(run));
    record_run(run, &log);
    broken[b].change(&log);
    for (int mode = 0; mode < DISK_MODES; mode++)
      t[mode] = cut_everywhere(&log, mode, 1 + cuts_of[mode] / 4, broken[b].find, tmpdir_at(state, "after"), true);
    const char *why = t[DISK_ANY].first ? t[DISK_ANY].first : t[DISK_JOURNAL].first ? t[DISK_JOURNAL].first : t[DISK_KILL].first;
    print_message("%s: kill -9 %s, ordered journal %s, any subset %s: %s\n", broken[b].what, t[0].broken ? "sees it" : "no",
                  t[1].broken ? "sees it" : "no", t[2].broken ? "sees it" : "no", why ? why : "not caught");
    if (!why) fail_msg("%s: not caught", broken[b].what);
    disk_log_fini(&log);
  }
}

/* A protocol that syncs no file loses checkpoints; hashes keep it from handing out wrong ones. */
static void hashes_keep_wrong_values_out(void **state) {
  disk_log log = {0};

  check_ok(io_make_dirs(tmpdir_at(state, "run")));
  check_ok(io_make_dirs(tmpdir_at(state, "after")));
  record_run(tmpdir_at(state, "run"), &log);
  break_files(&log);
  const tally with = cut_everywhere(&log, DISK_ANY, 8, find_verified, tmpdir_at(state, "after"), false);
  const tally without_hashes = cut_everywhere(&log, DISK_ANY, 8, find_trusting, tmpdir_at(state, "after"), false);
  print_message("wrong values: %d with hashes, %d without, of %d states\n", with.wrong, without_hashes.wrong, with.states);
  assert_true(with.broken > 0 && with.wrong == 0 && without_hashes.wrong > 0);
  disk_log_fini(&log);
}

/* On memory where there is any: a state is a few files that live for a millisecond. */
static int on_memory(void **state) {
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  log_set_level(LOG_ERROR + 1);
  return tmpdir_setup(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(the_protocol_keeps_its_promises, on_memory, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(broken_protocols_are_caught, on_memory, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(hashes_keep_wrong_values_out, on_memory, tmpdir_teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
