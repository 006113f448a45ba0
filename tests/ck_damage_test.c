/* 10,000 ways of damage to a checkpoint's files: bits, cuts, blocks of zeros, blocks and files in each other's place, bytes
 * added. Each is noticed before a value is used, by the file's name, and the older checkpoint is taken. */
#include "base/log.h"
#include "checkpoints/state.h"
#include "tests/support/faults.h"
#include "tests/support/tiny_state.h"
#include "tests/support/tmpdir.h"

enum { FILES = 6, DAMAGES = 10000, OLD = 1, NEW = 2 };
static const char *const names[FILES] = {"weights.safetensors", "adam_m.safetensors", "adam_v.safetensors",
                                         "ema.safetensors", "config.yaml", "manifest.json"};
typedef enum { BIT, CUT, ZEROS, SWAP_BLOCKS, ADD, OTHER_FILE, OLD_FILE, KINDS } kind;

static struct { char *data; size_t n; } whole[NEW + 1][FILES];
static uint64_t seed = 7;

static size_t below(size_t n) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (size_t)(seed >> 33) % n;
}

/* The bytes that stand for file f of the new checkpoint, from malloc. */
static char *damage(kind k, int f, size_t *n) {
  const size_t size = whole[NEW][f].n, at = below(size), other = below(size), length = 1 + below(16);
  const int with = (f + 1 + (int)below(FILES - 1)) % FILES;
  char *b = malloc(size + 64);

  assert_non_null(b);
  memcpy(b, whole[NEW][f].data, size);
  *n = size;
  if (k == BIT) b[at] ^= (char)(1 << below(8));
  if (k == CUT) *n = at;
  if (k == ZEROS) memset(b + at, 0, at + length < size ? length : size - at);
  if (k == SWAP_BLOCKS)
    for (size_t i = 0; i < length && at + i < size && other + i < size; i++) {
      const char c = b[at + i];
      b[at + i] = b[other + i];
      b[other + i] = c;
    }
  if (k == ADD) {
    memset(b + size, (int)below(256), length);
    *n = size + length;
  }
  if (k == OTHER_FILE || k == OLD_FILE) {
    const int step = k == OLD_FILE ? OLD : NEW, from = k == OLD_FILE ? f : with;
    free(b);
    assert_non_null(b = malloc(whole[step][from].n + 1));
    memcpy(b, whole[step][from].data, *n = whole[step][from].n);
  }
  return b;
}

static void check_seen(void **state, kind k, int f) {
  char path[IO_PATH_MAX];
  bool found = false;
  int64_t step = 0;
  tiny_state t;

  tiny_blank(&t, 1);
  const int st = ck_load(tmpdir_at(state, "checkpoints/step-000002"), &t.s, NULL);
  if (st != E_CKPT || (!strstr(err_text(), names[f]) && k != OLD_FILE))
    fail_msg("damage %d of %s: status %d: %s", (int)k, names[f], st, err_text());
  assert_true(t.s.step == -77);
  check_ok(ck_latest(*state, path, &found));
  if (!found || ck_step(path, &step) != OK || step != OLD) fail_msg("damage %d of %s: not passed over", (int)k, names[f]);
}

static void all_damage_is_seen(void **state) {
  int done[KINDS] = {0};

  for (int step = OLD; step <= NEW; step++) {
    tiny_state t;
    tiny_init(&t, step, 1);
    check_ok(ck_save(*state, &t.s, 0));
    for (int f = 0; f < FILES; f++)
      check_ok(io_read_file(tmpdir_at(state, "checkpoints/step-%06d/%s", step, names[f]), 1 << 20, &whole[step][f].data,
                            &whole[step][f].n));
  }
  for (int i = 0; i < DAMAGES;) {
    const kind k = (kind)below(KINDS);
    const int f = (int)below(FILES);
    const char *path = tmpdir_at(state, "checkpoints/step-000002/%s", names[f]);
    size_t n;
    char *b = damage(k, f, &n);
    if (n != whole[NEW][f].n || memcmp(b, whole[NEW][f].data, n) != 0) {
      tmpdir_put(path, b, n);
      check_seen(state, k, f);
      tmpdir_put(path, whole[NEW][f].data, whole[NEW][f].n);
      done[k]++;
      i++;
    }
    free(b);
  }
  print_message("bits %d, cuts %d, zeros %d, blocks swapped %d, bytes added %d, another file %d, an older one %d\n", done[BIT],
                done[CUT], done[ZEROS], done[SWAP_BLOCKS], done[ADD], done[OTHER_FILE], done[OLD_FILE]);
  for (int step = OLD; step <= NEW; step++)
    for (int f = 0; f < FILES; f++) free(whole[step][f].data);
}

static int quiet(void **state) {
  log_set_level(LOG_ERROR + 1);
  return faults_no_sync(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(all_damage_is_seen, tmpdir_setup, tmpdir_teardown)};
  return cmocka_run_group_tests(tests, quiet, NULL);
}
