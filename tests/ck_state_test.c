/* checkpoints/state: what is saved comes back bit for bit, and whatever is wrong is noticed. */
#include "checkpoints/state.h"

#include <math.h>

#include "base/log.h"
#include "base/safetensors.h"
#include "checkpoints/manifest.h"
#include "checkpoints/rundir.h"
#include "tests/support/faults.h"
#include "tests/support/tiny_state.h"
#include "tests/support/tmpdir.h"

static void save(void **state, int64_t step, int with_ema, int keep) {
  tiny_state t;
  tiny_init(&t, step, with_ema);
  check_ok(ck_save(*state, &t.s, keep));
}

/* The newest checkpoint is that of `step` and holds what was saved. */
static void check_latest(void **state, int64_t step, int with_ema) {
  char path[IO_PATH_MAX], *config = NULL;
  bool found = false;
  tiny_state want, got;
  int64_t said = 0;

  check_ok(ck_latest(*state, path, &found));
  assert_true(found);
  check_ok(ck_step(path, &said));
  assert_int_equal(said, step);
  tiny_init(&want, step, with_ema);
  tiny_blank(&got, with_ema);
  check_ok(ck_load(path, &got.s, &config));
  tiny_check_equal(&want, &got);
  assert_string_equal(config, want.s.config);
  free(config);
}

/* Names in RUN/checkpoints, joined by spaces. */
static void check_names(void **state, const char *want) {
  char **names = NULL, all[1024] = "";
  size_t n = 0;

  check_ok(io_list_dir(tmpdir_at(state, "checkpoints"), &names, &n));
  for (size_t i = 0; i < n; i++) {
    if (i) strcat(all, " ");
    strcat(all, names[i]);
  }
  io_free_names(&names, n);
  assert_string_equal(all, want);
}

static void round_trip(void **state) {
  tiny_state got;

  save(state, 12, 1, 0);
  check_latest(state, 12, 1);
  check_names(state, "step-000012");
  tiny_blank(&got, 1);
  check_ok(ck_load(tmpdir_at(state, "checkpoints/step-000012"), &got.s, NULL)); /* config not wanted */
}

static void files_are_plain_safetensors(void **state) {
  st_file *f = NULL;
  tiny_state t;

  save(state, 12, 0, 0);
  tiny_init(&t, 12, 0);
  assert_false(io_exists(tmpdir_at(state, "checkpoints/step-000012/ema.safetensors")));
  check_ok(st_open(tmpdir_at(state, "checkpoints/step-000012/adam_v.safetensors"), &f));
  assert_string_equal(st_metadata(f, "format"), "pt");
  assert_int_equal(st_count(f), TINY_PARAMS);
  const st_tensor *w = st_find(f, "unet.conv_in.weight");
  assert_true(w && w->ndim == 4 && w->dtype == ST_F32);
  assert_memory_equal(w->data, t.buffers[2], w->nbytes);
  st_close(&f);
}

static void none_yet(void **state) {
  char path[IO_PATH_MAX];
  bool found = true;

  check_ok(ck_latest(*state, path, &found));
  assert_false(found);
  check_ok(io_make_dirs(tmpdir_at(state, "checkpoints")));
  check_ok(io_make_dirs(tmpdir_at(state, "checkpoints/step-7")));       /* not a name of ours */
  check_ok(io_make_dirs(tmpdir_at(state, "checkpoints/step-000007x")));
  check_ok(io_make_dirs(tmpdir_at(state, "checkpoints/step-99999999999999999999")));
  check_ok(ck_latest(*state, path, &found));
  assert_false(found);
  check_fails(E_CKPT, "none/manifest.json: cannot open", ck_step(tmpdir_at(state, "none"), &(int64_t){0}));
}

static void keeps_the_newest(void **state) {
  for (int step = 1; step <= 5; step++) save(state, step, 0, 2);
  check_names(state, "step-000004 step-000005");
  save(state, 6, 0, 0);
  check_names(state, "step-000004 step-000005 step-000006");
  save(state, 7, 0, 1);
  check_names(state, "step-000007");
  check_latest(state, 7, 0);
}

static void seven_digits_come_after_six(void **state) {
  save(state, 999999, 0, 0);
  save(state, 1000000, 0, 2);
  check_names(state, "step-1000000 step-999999");
  check_latest(state, 1000000, 0);
  save(state, 1000001, 0, 2);
  check_names(state, "step-1000000 step-1000001");
}

static void same_step_again(void **state) {
  tiny_state t;

  save(state, 3, 0, 0);
  tiny_init(&t, 3, 0);
  t.buffers[0][0] = 42;
  check_ok(ck_save(*state, &t.s, 0));
  check_names(state, "step-000003");
  tiny_state got;
  tiny_blank(&got, 0);
  check_ok(ck_load(tmpdir_at(state, "checkpoints/step-000003"), &got.s, NULL));
  tiny_check_equal(&t, &got);
}

static void later_steps_go(void **state) {
  for (int step = 1; step <= 4; step++) save(state, step, 0, 0);
  check_ok(ck_drop_after(*state, 4));
  check_names(state, "step-000001 step-000002 step-000003 step-000004");
  check_ok(ck_drop_after(*state, 3));
  check_names(state, "step-000001 step-000002 step-000003");
  save(state, 2, 0, 1); /* the run went on from step 1: it has no step 3 yet */
  check_names(state, "step-000002");
  check_latest(state, 2, 0);
}

static void leftovers_are_cleaned(void **state) {
  check_ok(io_make_dirs(tmpdir_at(state, "checkpoints/step-000005.tmp/x")));
  check_ok(io_make_dirs(tmpdir_at(state, "checkpoints/step-000001.del")));
  check_ok(io_make_dirs(tmpdir_at(state, "checkpoints/mine.tmp")));
  save(state, 6, 0, 0);
  check_names(state, "mine.tmp step-000006");
}

static void not_finite_is_not_saved(void **state) {
  static const float bad[] = {NAN, INFINITY, -INFINITY};

  save(state, 1, 0, 0);
  for (int i = 0; i < 3; i++) {
    tiny_state t;
    tiny_init(&t, 2, 0);
    t.buffers[i][TINY_NUMEL - 1] = bad[i];
    check_fails(E_NUMERIC, "down.0", ck_save(*state, &t.s, 1));
    check_names(state, "step-000001");
  }
  check_latest(state, 1, 0);
}

/* ---- damage ---- */

static const char *const all_files[] = {"weights.safetensors", "adam_m.safetensors", "adam_v.safetensors",
                                        "ema.safetensors", "config.yaml", "manifest.json"};
enum { NFILES = sizeof all_files / sizeof *all_files };

/* The damaged step 2 is refused by name, and step 1 is the newest that verifies. */
static void check_damage_seen(void **state, const char *what, const char *file) {
  char path[IO_PATH_MAX];
  bool found = false;
  int64_t step = 0;
  tiny_state t;

  tiny_blank(&t, 1);
  const int st = ck_load(tmpdir_at(state, "checkpoints/step-000002"), &t.s, NULL);
  if (st != E_CKPT || !strstr(err_text(), file)) fail_msg("%s %s: status %d, %s", what, file, st, err_text());
  assert_true(t.s.step == -77);
  check_ok(ck_latest(*state, path, &found));
  if (!found || ck_step(path, &step) != OK || step != 1) fail_msg("%s %s: not passed over", what, file);
}

/* Each file cut at 24 places and with one bit changed at 24 places; the manifest at every byte. */
static void damage_is_seen(void **state) {
  save(state, 1, 1, 0);
  save(state, 2, 1, 0);
  log_set_level(LOG_ERROR);
  for (int i = 0; i < NFILES; i++) {
    const char *path = tmpdir_at(state, "checkpoints/step-000002/%s", all_files[i]);
    char *b = NULL;
    size_t n = 0;
    check_ok(io_read_file(path, 1 << 20, &b, &n));
    const size_t places = i == NFILES - 1 ? n : n < 24 ? n : 24;
    for (size_t k = 0; k < places; k++) {
      const size_t at = k * n / places;
      tmpdir_put(path, b, at);
      check_damage_seen(state, "cut", all_files[i]);
      b[at] ^= (char)(1 << k % 8);
      tmpdir_put(path, b, n);
      check_damage_seen(state, "bit changed", all_files[i]);
      b[at] ^= (char)(1 << k % 8);
    }
    check_ok(io_remove_tree(path));
    check_damage_seen(state, "missing", all_files[i]);
    check_ok(io_make_dirs(path));
    check_damage_seen(state, "a folder", all_files[i]);
    check_ok(io_remove_tree(path));
    tmpdir_put(path, b, n);
    free(b);
  }
  log_set_level(LOG_INFO);
  check_latest(state, 2, 1);
}

static void swapped_files_are_seen(void **state) {
  save(state, 1, 1, 0);
  save(state, 2, 1, 0);
  log_set_level(LOG_ERROR);
  for (int i = 0; i < NFILES; i++) { /* with that of step 1, and with the next buffer's */
    const char *two = tmpdir_at(state, "checkpoints/step-000002/%s", all_files[i]);
    check_ok(io_rename(two, tmpdir_at(state, "aside")));
    check_ok(io_copy_file(tmpdir_at(state, "checkpoints/step-000001/%s", all_files[i]), two));
    if (i != 4) check_damage_seen(state, "of step 1", i == 5 ? "safetensors" : all_files[i]);
    if (i < 3) {
      check_ok(io_copy_file(tmpdir_at(state, "checkpoints/step-000002/%s", all_files[i + 1]), two));
      check_damage_seen(state, "of another buffer", all_files[i]);
    }
    check_ok(io_rename(tmpdir_at(state, "aside"), two));
  }
  log_set_level(LOG_INFO);
}

/* A later format, sealed as it should be. */
static void other_version(void **state) {
  char *text = NULL;
  size_t n = 0;
  tiny_state t;

  save(state, 1, 0, 0);
  const char *path = tmpdir_at(state, "checkpoints/step-000001/manifest.json");
  check_ok(io_read_file(path, 1 << 20, &text, &n));
  char *format = strstr(text, "\"format\": 1"), *seal = strstr(text, ",\n \"xxh3_128\": ");
  assert_true(format && seal);
  format[10] = '2';
  memcpy(seal + 16, ck_hash_of(text, (size_t)(seal - text)).hex, 32);
  tmpdir_put(path, text, n);
  tiny_blank(&t, 0);
  check_fails(E_CKPT, "manifest.json: format 2, this program reads 1",
              ck_load(tmpdir_at(state, "checkpoints/step-000001"), &t.s, NULL));
  free(text);
}

/* A checkpoint of each format that was released, made from tests/support/tiny_state.h: it loads, and the format of now is
 * still the newest of them byte for byte. */
static void released_formats_load(void **state) {
  static const char released[] = TEST_DATA "/checkpoints/format-1";
  char path[IO_PATH_MAX], *config = NULL;
  bool found = false;
  tiny_state want, got;

  check_ok(ck_latest(released, path, &found));
  assert_true(found);
  tiny_init(&want, 7, 1);
  tiny_blank(&got, 1);
  check_ok(ck_load(path, &got.s, &config));
  tiny_check_equal(&want, &got);
  assert_string_equal(config, want.s.config);
  free(config);
  save(state, 7, 1, 0);
  for (int i = 0; i < NFILES; i++) {
    char *a = NULL, *b = NULL, file[IO_PATH_MAX];
    size_t n = 0, m = 0;
    check_ok(io_path(file, "%s/%s", path, all_files[i]));
    check_ok(io_read_file(file, 1 << 20, &a, &n));
    check_ok(io_read_file(tmpdir_at(state, "checkpoints/step-000007/%s", all_files[i]), 1 << 20, &b, &m));
    if (n != m || memcmp(a, b, n) != 0) fail_msg("%s is not what format %d was", all_files[i], CK_FORMAT);
    free(a);
    free(b);
  }
}

static void all_damaged(void **state) {
  char path[IO_PATH_MAX];
  bool found = true;

  save(state, 1, 0, 0);
  tmpdir_put(tmpdir_at(state, "checkpoints/step-000001/weights.safetensors"), "", 0);
  log_set_level(LOG_ERROR);
  check_ok(ck_latest(*state, path, &found));
  log_set_level(LOG_INFO);
  assert_false(found);
}

static void damage_is_reported(void **state) {
  char path[IO_PATH_MAX], *text = NULL;
  size_t n = 0;
  bool found = false;

  save(state, 1, 0, 0);
  save(state, 2, 0, 0);
  tmpdir_put(tmpdir_at(state, "checkpoints/step-000002/adam_m.safetensors"), "", 0);
  check_ok(log_open_file(tmpdir_at(state, "log.txt")));
  log_set_level(LOG_ERROR);
  check_ok(ck_latest(*state, path, &found));
  log_set_level(LOG_INFO);
  log_close_file();
  check_ok(io_read_file(tmpdir_at(state, "log.txt"), 1 << 20, &text, &n));
  assert_non_null(strstr(text, "warning checkpoint of step 2 is passed over: "));
  assert_non_null(strstr(text, "step-000002/adam_m.safetensors: 0 bytes, "));
  free(text);
}

/* ---- another model ---- */

static void other_parameters(void **state) {
  const char *path = tmpdir_at(state, "checkpoints/step-000001");
  ck_param p[TINY_PARAMS + 1];
  tiny_state t;

  save(state, 1, 0, 0);
  tiny_blank(&t, 0);
  t.s.params = p;
  memcpy(p, tiny_params, sizeof tiny_params);
  p[1].name = "unet.conv_in.biased";
  check_fails(E_CKPT, "parameter 1 is unet.conv_in.bias, the model has unet.conv_in.biased", ck_load(path, &t.s, NULL));
  memcpy(p, tiny_params, sizeof tiny_params);
  p[0].shape[1] = 2, p[0].shape[2] = 3;
  check_fails(E_CKPT, "unet.conv_in.weight is [2,3,2,2], the model has [2,2,3,2]", ck_load(path, &t.s, NULL));
  memcpy(p, tiny_params, sizeof tiny_params);
  p[0] = tiny_params[1], p[1] = tiny_params[0]; /* order */
  check_fails(E_CKPT, "parameter 0 is unet.conv_in.weight, the model has unet.conv_in.bias", ck_load(path, &t.s, NULL));
  memcpy(p, tiny_params, sizeof tiny_params);
  t.s.nparams = 3;
  check_fails(E_CKPT, "parameter 3, down.0, is not in the model, which has 3", ck_load(path, &t.s, NULL));
  p[4] = (ck_param){"more", 1, {1}, TINY_NUMEL - 1, 1};
  t.s.nparams = 5;
  check_fails(E_CKPT, "parameter 4, more [1], is missing: it holds 4", ck_load(path, &t.s, NULL));
  assert_true(t.s.step == -77);
}

static void ema_or_not(void **state) {
  tiny_state t, want;

  save(state, 1, 0, 0);
  save(state, 2, 1, 0);
  tiny_blank(&t, 1);
  check_fails(E_CKPT, "holds no ema.safetensors", ck_load(tmpdir_at(state, "checkpoints/step-000001"), &t.s, NULL));
  tiny_blank(&t, 0);
  check_ok(ck_load(tmpdir_at(state, "checkpoints/step-000002"), &t.s, NULL));
  tiny_init(&want, 2, 0);
  tiny_check_equal(&want, &t);
}

/* ---- a failing disk ---- */

/* Whichever call fails, with whichever errno: the status is right, an error names a path, the checkpoint before or the
 * new one is there whole, and the next save works. */
static void failing_calls(void **state) {
  static const int errors[] = {ENOSPC, EDQUOT, EROFS, EIO, EACCES};
  tiny_state t;

  log_set_level(LOG_ERROR + 1);
  save(state, 1, 1, 0);
  save(state, 2, 1, 0);
  tiny_init(&t, 3, 1);
  for (int i = 1, failed = 1; failed; i++) {
    const int error = errors[i % 5];
    failed = 0;
    faults_begin(i, error, FAULTS_ONCE);
    const int st = ck_save(*state, &t.s, 2);
    if ((failed = faults_end()) && st != OK) {
      const bool reading = strstr(err_text(), "reads back") != NULL;
      check_fails(error == EACCES && !reading ? E_CKPT : E_DISK, strerror(error), st);
      assert_non_null(strstr(err_text(), "/checkpoints"));
    }
    if (i == 1) assert_true(st != OK);
    char path[IO_PATH_MAX];
    bool found = false;
    int64_t step = 0;
    check_ok(ck_latest(*state, path, &found));
    check_ok(ck_step(path, &step));
    assert_true(found && (st == OK ? step == 3 : step >= 2));
    if (step == 2) check_latest(state, 2, 1);
    check_ok(ck_save(*state, &t.s, 2)); /* the same step, after a failure or not */
    check_latest(state, 3, 1);
    check_names(state, "step-000002 step-000003");
    check_ok(io_remove_tree(tmpdir_at(state, "checkpoints/step-000003")));
    if (!failed) assert_true(i > 40); /* all sites were reached */
  }
  log_set_level(LOG_INFO);
}

/* Saving a step that is there already: one of the two is there whatever fails, without the folder being opened anew. */
static void failing_calls_replacing(void **state) {
  log_set_level(LOG_ERROR + 1);
  for (int i = 1, failed = 1; failed; i++) {
    check_ok(io_remove_tree(tmpdir_at(state, "checkpoints")));
    save(state, 5, 0, 1);
    tiny_state t;
    tiny_init(&t, 5, 0);
    faults_begin(i, EIO, FAULTS_ONCE);
    ck_save(*state, &t.s, 1);
    failed = faults_end();
    check_latest(state, 5, 0);
  }
  log_set_level(LOG_INFO);
}

static void first_failure_is_reported(void **state) {
  tiny_state t;

  tiny_init(&t, 5, 0);
  log_set_level(LOG_ERROR + 1);
  faults_begin(8, ENOSPC, FAULTS_STUCK); /* the clean-up fails too */
  check_fails(E_DISK, "weights.safetensors: cannot ", ck_save(*state, &t.s, 1));
  faults_end();
  log_set_level(LOG_INFO);
}

/* From call i on nothing reaches the disk: what kill -9 leaves. */
static void killed_anywhere(void **state, int64_t before, int64_t step) {
  log_set_level(LOG_ERROR + 1);
  save(state, before, 1, 0);
  for (int i = 1, killed = 1; killed; i++) {
    tiny_state t;
    tiny_init(&t, step, 1);
    faults_begin(i, EIO, FAULTS_STUCK);
    ck_save(*state, &t.s, 1);
    killed = faults_end();
    save(state, step + 1, 1, 1); /* the next run cleans up first */
    char name[64];
    snprintf(name, sizeof name, "step-%06d", (int)step + 1);
    check_names(state, name);
    check_latest(state, step + 1, 1);
    check_ok(io_remove_tree(tmpdir_at(state, "checkpoints")));
    save(state, before, 1, 0);
  }
  log_set_level(LOG_INFO);
}

static void killed_in_the_next_step(void **state) { killed_anywhere(state, 4, 5); }
static void killed_in_the_same_step(void **state) { killed_anywhere(state, 5, 5); }

/* As above, and what the next trainer finds when it opens the folder loads. */
static void nothing_acknowledged_is_lost(void **state, int64_t before, int64_t step) {
  log_set_level(LOG_ERROR + 1);
  for (int i = 1, killed = 1; killed; i++) {
    char path[IO_PATH_MAX];
    bool found = false;
    int64_t said = 0;
    tiny_state t;
    check_ok(io_remove_tree(tmpdir_at(state, "checkpoints")));
    save(state, before, 1, 0);
    tiny_init(&t, step, 1);
    faults_begin(i, EIO, FAULTS_STUCK);
    ck_save(*state, &t.s, 1);
    killed = faults_end();
    ck_rundir *r = NULL;
    check_ok(ck_rundir_open(*state, &r));
    ck_rundir_close(&r);
    check_ok(ck_latest(*state, path, &found));
    assert_true(found);
    check_ok(ck_step(path, &said));
    assert_true(said == before || said == step);
    check_latest(state, said, 1);
  }
  log_set_level(LOG_INFO);
}

static void killed_then_loaded(void **state) { nothing_acknowledged_is_lost(state, 4, 5); }
static void killed_replacing_then_loaded(void **state) { nothing_acknowledged_is_lost(state, 5, 5); }

/* What a kill cannot show and a power cut does: each file is synced, then the folder, before the name changes; the name
 * is synced before anything old goes. */
static void order_of_calls(void **state) {
  tiny_state t;

  save(state, 2, 0, 0);
  tiny_init(&t, 3, 0);
  faults_begin(0, 0, FAULTS_COUNT);
  check_ok(ck_save(*state, &t.s, 1));
  assert_string_equal(faults.log, "mkdir step-000003.tmp\nfsync checkpoints\n"
                                  "open weights.safetensors\nfsync weights.safetensors\n"
                                  "open adam_m.safetensors\nfsync adam_m.safetensors\n"
                                  "open adam_v.safetensors\nfsync adam_v.safetensors\n"
                                  "open config.yaml\nfsync config.yaml\n"
                                  "open manifest.json\nfsync manifest.json\n"
                                  "fsync step-000003.tmp\n"
                                  "rename step-000003.tmp step-000003\nfsync checkpoints\n"
                                  "rename step-000002 step-000002.del\nfsync checkpoints\n"
                                  "unlink adam_m.safetensors\nunlink adam_v.safetensors\nunlink config.yaml\n"
                                  "unlink manifest.json\nunlink weights.safetensors\nrmdir step-000002.del\n");
  faults_begin(0, 0, FAULTS_COUNT); /* the same step again: the old one keeps a name until the new one has it for good */
  check_ok(ck_save(*state, &t.s, 1));
  assert_non_null(strstr(faults.log, "fsync step-000003.tmp\nrename step-000003 step-000003.old\nfsync checkpoints\n"
                                     "rename step-000003.tmp step-000003\nfsync checkpoints\nunlink adam_m"));
}

static void short_writes(void **state) {
  tiny_state t;

  tiny_init(&t, 9, 1);
  faults_begin(0, 0, FAULTS_SLOW);
  check_ok(ck_save(*state, &t.s, 0));
  faults_end();
  check_latest(state, 9, 1);
}

static void no_place_to_save(void **state) {
  tiny_state t;

  tiny_init(&t, 1, 0);
  tmpdir_put(tmpdir_at(state, "checkpoints"), "", 0);
  check_fails(E_CKPT, "checkpoints: cannot make the folder: a file of that name is there", ck_save(*state, &t.s, 1));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {
      TEST(round_trip), TEST(files_are_plain_safetensors), TEST(none_yet), TEST(keeps_the_newest),
      TEST(seven_digits_come_after_six), TEST(same_step_again), TEST(later_steps_go), TEST(leftovers_are_cleaned),
      TEST(not_finite_is_not_saved), TEST(damage_is_seen), TEST(swapped_files_are_seen), TEST(other_version), TEST(released_formats_load),
      TEST(all_damaged), TEST(damage_is_reported), TEST(other_parameters), TEST(ema_or_not), TEST(failing_calls), TEST(failing_calls_replacing), TEST(first_failure_is_reported),
      TEST(killed_in_the_next_step), TEST(killed_in_the_same_step), TEST(killed_then_loaded),
      TEST(killed_replacing_then_loaded), TEST(order_of_calls), TEST(short_writes), TEST(no_place_to_save)};
  return cmocka_run_group_tests(tests, faults_no_sync, NULL);
}
