/* e2eft eval on the small published sets, archives and folders, against what Marigold's and DSINE's own code measured on
 * the same files (tests/data/eval/peer_numbers.json). */
#include <jansson.h>
#include <math.h>

#include "eval/set.h"
#include "tests/support/mini_sets.h"
#include "tests/support/program.h"
#include "tests/support/tmpdir.h"

#define DEPTH_REL 1e-5
#define NORMALS_DEGREES 1e-3
#define SHARE_PERCENT 2e-3 /* below_*: of 83,000 pixels and more, one whose angle rounds to the other side of the limit */

static void **state; /* of the group: the folder with the sets */

static json_t *read_json(const char *path) {
  json_error_t error;
  json_t *j = json_load_file(path, 0, &error);

  if (!j) fail_msg("%s: %s", path, error.text);
  return j;
}

static json_t *evaluated(const char *data, const char *predictions, const char *key_value) {
  const char *file = tmpdir_at(state, "metrics.json");
  program p = key_value
                  ? program_run(120, "eval", "--data", data, "--predictions", predictions, "--json", file, "-s", key_value, NULL)
                  : program_run(120, "eval", "--data", data, "--predictions", predictions, "--json", file, NULL);

  program_expect(&p, 0);
  program_free(&p);
  return read_json(file);
}

static void compare(const char *who, const json_t *got, const json_t *want, double rel, double absolute) {
  const char *key;
  json_t *value;

  json_object_foreach((json_t *)(uintptr_t)want, key, value) {
    if (!json_is_number(value)) continue;
    const double w = json_number_value(value), g = json_number_value(json_object_get(got, key));
    const double allowed = strncmp(key, "below_", 6) ? absolute : SHARE_PERCENT;
    if (!(fabs(g - w) <= rel * fabs(w) + allowed)) fail_msg("%s: %s: %.9g, wanted %.9g", who, key, g, w);
  }
  assert_int_equal(json_integer_value(json_object_get(got, "failed")), 0);
}

static const json_t *part(const json_t *all, const char *who, const char *task, const char *name) {
  const json_t *one = json_object_get(json_object_get(json_object_get(all, who), task), name);
  if (!one) fail_msg("no numbers of %s for %s", who, name);
  return one;
}

/* "kitti mask=garg": the set's folder with a key; "eth3d": the archive; "eth3d folder": the folder. */
static void check_depth(const json_t *all, const char *name) {
  char set[32], spec[IO_PATH_MAX];
  const char *key = strchr(name, ' ');

  snprintf(set, sizeof set, "%.*s", key ? (int)(key - name) : (int)strlen(name), name);
  check_ok(io_path(spec, "%s:%s", set, key ? tmpdir_at(state, "%s", set) : tmpdir_at(state, "tar/%s.tar", set)));
  json_t *got = evaluated(spec, tmpdir_at(state, "pred/%s", set), key && strcmp(key, " folder") ? key + 1 : NULL);
  compare(name, got, part(all, "diffusion-e2e-ft", "depth", name), DEPTH_REL, 0);
  compare(name, got, part(all, "Marigold", "depth", name), DEPTH_REL, 0);
  json_decref(got);
}

static void depth_as_marigold(void **unused) {
  json_t *all = read_json(TEST_DATA "/eval/peer_numbers.json"), *want;
  const char *name;
  int n = 0;

  (void)unused;
  json_object_foreach(json_object_get(json_object_get(all, "Marigold"), "depth"), name, want) check_depth(all, name), n++;
  assert_int_equal(n, 13);
  json_decref(all);
}

/* The image that a model is given: sums that any wrong byte changes. */
static void check_stretched(const char *set, const char *spec, const json_t *want) {
  ev_set *s = NULL;
  ev_item item;
  int64_t sums[3] = {0}, weighted = 0;

  check_ok(ev_set_open(spec, false, NULL, 0, &s));
  check_ok(ev_set_read(s, 0, &item));
  for (size_t i = 0; i < 3 * (size_t)item.H * (size_t)item.W; i++) {
    sums[i % 3] += item.image[i];
    weighted += (int64_t)item.image[i] * (int64_t)(i % 251);
  }
  for (size_t c = 0; c < 3; c++) {
    const int64_t sum = json_integer_value(json_array_get(json_object_get(want, "sums"), c));
    if (sums[c] != sum) fail_msg("%s: channel %zu sums to %lld, wanted %lld", set, c, (long long)sums[c], (long long)sum);
  }
  assert_int_equal(weighted, json_integer_value(json_object_get(want, "weighted")));
  ev_set_close(&s);
}

static void normals_as_dsine(void **unused) {
  json_t *all = read_json(TEST_DATA "/eval/peer_numbers.json");
  char spec[IO_PATH_MAX];

  (void)unused;
  for (const char *const *name = mini_normals_sets; *name; name++) {
    const json_t *want = part(all, "DSINE", "normals", *name);
    check_ok(io_path(spec, "%s:%s", *name, tmpdir_at(state, "%s", *name)));
    json_t *got = evaluated(spec, tmpdir_at(state, "pred/%s", *name), NULL);
    compare(*name, got, want, 0, NORMALS_DEGREES);
    compare(*name, got, part(all, "diffusion-e2e-ft", "normals", *name), 0, NORMALS_DEGREES);
    check_stretched(*name, spec, json_object_get(want, "stretched"));
    json_decref(got);
  }
  json_decref(all);
}

static int make_sets(void **group) {
  if (tmpdir_setup(group)) return -1;
  state = group;
  mini_sets_make(*group);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(depth_as_marigold), cmocka_unit_test(normals_as_dsine)};
  return cmocka_run_group_tests(tests, make_sets, tmpdir_teardown);
}
