/* What all kinds share: defaults, refusals, ownership. */
#include "datasets/kind.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

static void defaults(void **state) {
  (void)state;
  ds_opts o;

  ds_opts_default(&o);
  assert_string_equal(o.split, "train");
  assert_true(o.near_m == 1e-5 && o.far_m == 0 && o.flip == 0.5 && o.shuffle && o.skip_bad_files && o.domain == -1);
  assert_true(!o.as_reference && !o.mm_wrap && o.intrinsics == DS_PER_SCENE && o.layout == DS_LAYOUT_AUTO &&
              !o.size_set);
}

static void refusals(void **state) {
  (void)state;
  ds_opts o = sample_opts("hypersin", "%s", "/nowhere");

  check_source_fails(E_CONFIG, "data kind 'hypersin' is none of hypersim, vkitti2, manifest, batches", &o);
  o.kind = NULL;
  check_source_fails(E_CONFIG, "data kind '' is none of", &o);
  o.kind = "hypersim";
  check_source_fails(E_DATA, "/nowhere: no such folder", &o);
  o.filter = DS_FILTER_MARIGOLD;
  o.kind = "batches";
  check_source_fails(E_CONFIG, "filter: marigold is for kind hypersim, not batches", &o);
  o.filter = DS_FILTER_NONE;
  o.kind = "hypersim";
  o.H = 5;
  check_source_fails(E_CONFIG, "size 5x0", &o);
  o.root = NULL;
  check_source_fails(E_CONFIG, "no root", &o);
}

/* The caller's strings may go once the source is open. */
static void owns_its_strings(void **state) {
  (void)state;
  char kind[] = "hypersim", root[] = TEST_DATA "/synth/hypersim", split[] = "val";
  ds_opts o = sample_opts(kind, "%s", root);

  o.root = root;
  o.split = split;
  o.size_set = false;
  ds_source *s = sample_source(&o);
  memset(kind, 'x', sizeof kind - 1);
  memset(root, 'x', sizeof root - 1);
  memset(split, 'x', sizeof split - 1);
  ds_sample a = sample_read(s, 0, false);
  assert_true(a.H == 480 && a.W == 640); /* the kind's size */
  assert_string_equal(ds_source_opts(s)->split, "val");
  assert_string_equal(a.id, "ai_003_001/cam_00/0000");
  sample_free(&a);
  ds_source_close(&s);
  assert_null(s);
  ds_source_close(&s);
}

static void items_and_shapes(void **state) {
  (void)state;
  ds_opts o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);
  ds_source *s = sample_source(&o);
  ds_sample a = sample_room(100, 100);
  ds_extra e = {.has_noise = true, .has_timesteps = true};
  int H, W;

  check_fails(E_FAIL, "no item 11 among 11", ds_source_shape(s, 11, &H, &W));
  check_fails(E_FAIL, "no item -1", ds_source_read(s, -1, false, &a));
  check_fails(E_FAIL, "no item 11", ds_source_read_extra(s, 11, &e));
  check_fails(E_DATA, "[192, 256] pixels where [100, 100] were expected", ds_source_read(s, 0, false, &a));
  check_ok(ds_source_read_extra(s, 0, &e));
  assert_false(e.has_noise || e.has_timesteps);
  sample_free(&a);
  ds_source_close(&s);
}

/* The same item twice, with others between: scratch buffers hold nothing over. */
static void reads_are_independent(void **state) {
  (void)state;
  ds_opts o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);

  o.H = 60;
  o.W = 90;
  for (int as_reference = 0; as_reference < 2; as_reference++) {
    o.as_reference = as_reference;
    ds_source *s = sample_source(&o);
    ds_sample a = sample_read(s, 2, true), b = sample_read(s, 9, false), c = sample_read(s, 2, true);
    const size_t n = ds_sample_floats(60, 90);
    assert_memory_equal(a.rgb, c.rgb, n * sizeof(float));
    assert_memory_equal(a.mask, c.mask, 60 * 90);
    assert_true(memcmp(a.rgb, b.rgb, n * sizeof(float)) != 0);
    sample_free(&a);
    sample_free(&b);
    sample_free(&c);
    ds_source_close(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(defaults), cmocka_unit_test(refusals),
                                     cmocka_unit_test(owns_its_strings), cmocka_unit_test(items_and_shapes),
                                     cmocka_unit_test(reads_are_independent)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
