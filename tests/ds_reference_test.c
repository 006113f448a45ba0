/* as_reference and the golden file trees: what the reference's own data set classes give. */
#include <stdio.h>
#include <zlib.h>

#include "datasets/reference.h"
#include "tests/support/golden.h"
#include "tests/support/samples.h"

enum { ABS_TOL_E7 = 20 }; /* 2e-6, golden/manifest.json */

static void check_plane(const st_file *g, const char *prefix, const char *field, const float *got, size_t n) {
  char name[64];
  size_t count;
  float *want;

  snprintf(name, sizeof name, "%s.%s", prefix, field);
  want = golden_f32(g, name, &count);
  assert_int_equal(count, n);
  golden_near_f32(name, got, want, n, 0, ABS_TOL_E7 * 1e-7);
  free(want);
}

static void check_mask(const st_file *g, const char *name, const uint8_t *got, size_t n) {
  const st_tensor *t = golden_find(g, name);

  assert_int_equal(st_numel(t), n);
  assert_memory_equal(t->data, got, n);
}

static void check_sample(const st_file *g, const char *prefix, const ds_sample *a) {
  const size_t n = (size_t)a->H * (size_t)a->W;
  char name[64];
  int64_t valid = 0;

  check_plane(g, prefix, "rgb", a->rgb, 3 * n);
  check_plane(g, prefix, "metric", a->metric, n);
  check_plane(g, prefix, "depth", a->depth, n);
  check_plane(g, prefix, "normals", a->normals, 3 * n);
  snprintf(name, sizeof name, "%s.val_mask", prefix);
  check_mask(g, name, a->mask, n);
  for (size_t i = 0; i < n; i++) valid += a->mask[i];
  assert_int_equal(a->valid, valid);
}

static ds_opts hypersim_opts(void) {
  ds_opts o = sample_opts("hypersim", "%s/golden/data/hypersim_root/data/hypersim/processed", TEST_DATA);

  o.as_reference = true;
  return o;
}

static void check_item(const st_file *g, const ds_opts *o, const char *prefix, int64_t i, bool flip) {
  ds_source *s = sample_source(o);
  ds_sample a = sample_read(s, i, flip);

  check_sample(g, prefix, &a);
  assert_int_equal(a.domain, DS_INDOOR);
  sample_free(&a);
  ds_source_close(&s);
}

static void hypersim_as_reference(void **state) {
  (void)state;
  ds_opts native = hypersim_opts(), small = native;
  st_file *g = golden_open("data/hypersim.safetensors");
  ds_source *s = sample_source(&native);

  assert_int_equal(ds_source_count(s), 3); /* frame 3 is another split's, frame 9 not public */
  ds_source_close(&s);
  small.H = 24;
  small.W = 32;
  check_item(g, &native, "0.plain", 0, false);
  check_item(g, &native, "1.plain", 1, false); /* no valid pixel */
  check_item(g, &native, "2.plain", 2, false); /* constant depth */
  check_item(g, &small, "0.resize", 0, false);
  check_item(g, &small, "0.resize_flip", 0, true);
  st_close(&g);
}

/* Every 16th pixel of a plane [C,352,1216], and its means. */
static void check_thinned(const st_file *g, const char *prefix, const char *field, const float *got, int C,
                          double tol) {
  enum { H = 352, W = 1216, h = 22, w = 76 };
  char name[64];
  float thin[3 * h * w], *want;
  double *means, sum = 0, sum_abs = 0;
  size_t n;

  for (int c = 0; c < C; c++)
    for (int y = 0; y < h; y++)
      for (int x = 0; x < w; x++)
        thin[(c * h + y) * w + x] = got[((size_t)c * H + 16 * (size_t)y) * W + 16 * (size_t)x];
  snprintf(name, sizeof name, "%s.%s.sub16", prefix, field);
  want = golden_f32(g, name, &n);
  assert_int_equal(n, C * h * w);
  golden_near_f32(name, thin, want, n, 0, tol);
  free(want);
  for (size_t i = 0; i < (size_t)C * H * W; i++) {
    sum += (double)got[i];
    sum_abs += fabs((double)got[i]);
  }
  snprintf(name, sizeof name, "%s.%s.mean_absmean", prefix, field);
  means = golden_f64(g, name, NULL);
  golden_near_f64(name, (double[]){sum / (C * H * W), sum_abs / (C * H * W)}, means, 2, 1e-6, tol);
  free(means);
}

static void check_vkitti(const st_file *g, const char *prefix, const ds_sample *a) {
  enum { N = 352 * 1216 };
  float *mask = malloc(N * sizeof *mask);

  assert_non_null(mask);
  assert_int_equal(a->H, 352);
  assert_int_equal(a->W, 1216);
  for (size_t i = 0; i < N; i++) mask[i] = a->mask[i];
  check_thinned(g, prefix, "rgb", a->rgb, 3, 0); /* the manifest allows 0.012; the decoder is the same */
  check_thinned(g, prefix, "metric", a->metric, 1, 2e-6);
  check_thinned(g, prefix, "depth", a->depth, 1, 2e-6);
  check_thinned(g, prefix, "normals", a->normals, 3, 2e-6);
  check_thinned(g, prefix, "val_mask", mask, 1, 0);
  free(mask);
}

/* Both ways: nothing that as_reference changes happens to these frames. */
static void vkitti2_as_reference(void **state) {
  (void)state;
  st_file *g = golden_open("data/vkitti.safetensors");
  ds_opts o = sample_opts("vkitti2", "%s/golden/data/vkitti_root", TEST_DATA);

  o.size_set = false; /* then the benchmark crop is taken */
  for (int as_reference = 0; as_reference < 2; as_reference++) {
    o.as_reference = as_reference;
    ds_source *s = sample_source(&o);
    ds_sample plain = sample_read(s, 0, false), mirrored = sample_read(s, 0, true);
    check_vkitti(g, "crop", &plain);
    check_vkitti(g, "crop_flip", &mirrored);
    assert_int_equal(plain.domain, DS_OUTDOOR);
    assert_string_equal(plain.id, "Scene01/morning/Camera_0/00000");
    sample_free(&plain);
    sample_free(&mirrored);
    ds_source_close(&s);
  }
  st_close(&g);
}

static void check_crc(const char *test, const char *what, double want, const void *p, size_t n) {
  if ((double)crc32(0, p, (unsigned)n) != want) fail_msg("%s: %s are not the reference's bits", test, what);
}

/* The raw files through the reference's preprocessing and its class, to the last bit: tests/data/make_reference.py.
 */
static void raw_as_reference(void **state) {
  (void)state;
  st_file *g = NULL;
  ds_opts o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);

  o.as_reference = true;
  check_ok(st_open(TEST_DATA "/synth/truth/reference.safetensors", &g));
  assert_int_equal(st_count(g), 11 * 5);
  for (size_t i = 0; i < st_count(g); i++) {
    const char *test = st_at(g, i)->name;
    double *crc = golden_f64(g, test, NULL);
    int item, flip;
    assert_int_equal(sscanf(test, "%d.%dx%d.%d", &item, &o.H, &o.W, &flip), 4);
    ds_source *s = sample_source(&o);
    ds_sample a = sample_read(s, item, flip);
    const size_t n = (size_t)a.H * (size_t)a.W;
    assert_int_equal(ds_source_count(s), 11);
    check_crc(test, "colours", crc[0], a.rgb, 12 * n);
    check_crc(test, "metres", crc[1], a.metric, 4 * n);
    check_crc(test, "normalised depths", crc[2], a.depth, 4 * n);
    check_crc(test, "normals", crc[3], a.normals, 12 * n);
    check_crc(test, "masks", crc[4], a.mask, n);
    sample_free(&a);
    ds_source_close(&s);
    free(crc);
  }
  st_close(&g);
}

/* Hypersim.align_normals on free numbers; here its result has passed through 8 bits. */
static void turned_as_reference(void **state) {
  (void)state;
  enum { H = 9, W = 12 };
  st_file *g = golden_open("data/hypersim.safetensors");
  double *n = golden_f64(g, "align.normal", NULL), *out = golden_f64(g, "align.out", NULL);
  float *depth = golden_f32(g, "align.depth", NULL);
  uint8_t rgb[3 * H * W];
  int turned = 0;

  /* the input is x right, y down, z forward */
  for (int i = 0; i < 3 * H * W; i++) rgb[i] = (uint8_t)((((i % 3) ? -n[i] : n[i]) + 1) / 2 * 255 + 0.5);
  ds_reference_align(rgb, depth, H, W);
  for (int i = 0; i < 3 * H * W; i++) {
    const double got = rgb[i] / 255.0 * 2 - 1;
    if (fabs(got + out[i]) > 0.02) fail_msg("pixel %d: %g, wanted %g", i / 3, got, -out[i]);
    turned += out[i] != n[i];
  }
  assert_true(turned > 30);
  free(n);
  free(out);
  free(depth);
  st_close(&g);
}

static void millimetres_wrap(void **state) {
  (void)state;
  assert_int_equal(ds_reference_mm(1.2349), 1234);
  assert_int_equal(ds_reference_mm(65.5355), 65535);
  assert_int_equal(ds_reference_mm(65.536), 0);
  assert_int_equal(ds_reference_mm(70), 4464);
  assert_int_equal(ds_reference_mm(90), 24464);
  assert_int_equal(ds_reference_mm(INFINITY), 0);
  assert_int_equal(ds_reference_mm(NAN), 0);
  assert_true(ds_reference_metres(4464) == 4.464f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(hypersim_as_reference), cmocka_unit_test(vkitti2_as_reference),
                                     cmocka_unit_test(raw_as_reference), cmocka_unit_test(turned_as_reference),
                                     cmocka_unit_test(millimetres_wrap)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
