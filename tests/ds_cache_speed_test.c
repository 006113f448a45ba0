/* How fast prepared data are read, at 480x640 with warm pages, in samples a second of one core's time. Prints JSON. */
#include <time.h>
#include <unistd.h>

#include "datasets/cache.h"
#include "datasets/cache_write.h"
#include "tests/support/samples.h"
#include "tests/support/tmpdir.h"

enum { H = 480, W = 640, ITEMS = 11, READS = 600, WANTED = 300 };

static double cpu_s(void) {
  struct timespec t;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double wall_s(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ds_sample room(size_t latent_bytes, unsigned seed) {
  ds_sample s = sample_room(H, W);

  s.latent = calloc(1, latent_bytes);
  assert_non_null(s.latent);
  for (size_t i = 0; i < ds_sample_floats(H, W); i++) s.rgb[i] = (float)(i * 2654435761u % (seed + 1000)) * 1e-3f;
  for (size_t i = 0; i < H * W; i++) s.mask[i] = i % 11 != 0;
  return s;
}

static void room_free(ds_sample *s) {
  free(s->latent);
  sample_free(s);
}

static void fill(const char *dir, const ds_cache_form *f, const ds_key *k) {
  ds_opts o = sample_opts("hypersim", "%s/synth/hypersim", TEST_DATA);
  ds_source *names = sample_source(&o);
  ds_cache_writer *w = NULL;

  check_ok(ds_cache_writer_open(dir, k, f, names, &w));
  for (unsigned i = 0; i < ITEMS; i++) {
    const ds_cache_item it = {.state = DS_KEPT, .id = "a/b/0000", .reason = "", .frame = {i + 1, 1}};
    ds_sample both[2] = {room(ds_latent_bytes(&f->latent), i), room(ds_latent_bytes(&f->latent), i + 100)};
    check_ok(ds_cache_writer_put(w, &it, both));
    for (int b = 0; b < 2; b++) room_free(&both[b]);
  }
  check_ok(ds_cache_writer_finish(w));
  ds_cache_writer_close(&w);
  ds_source_close(&names);
}

static void read_all(ds_cache *c, ds_sample *to, int n) {
  const char *path;

  for (int i = 0; i < n; i++) check_ok(ds_cache_read(c, i * 7 % ITEMS, i % 3 == 1, &path, to));
}

static void measure(void **state, const char *name, int need) {
  const ds_cache_form f = {ITEMS, H, W, need, {4, H / 8, W / 8, 4}, 1000};
  const char *dir = tmpdir_at(state, "%s", name);
  ds_sample to = room(ds_latent_bytes(&f.latent), 0);
  ds_cache *c = NULL;
  ds_key k = {0};
  size_t bytes = 0;

  ds_key_add(&k, "task", "%s", name);
  fill(dir, &f, &k);
  check_ok(ds_cache_open(dir, &k, ITEMS, &c));
  read_all(c, &to, 2 * ITEMS);
  const double cpu = cpu_s(), wall = wall_s();
  read_all(c, &to, READS);
  const double per_cpu = READS / (cpu_s() - cpu), per_wall = READS / (wall_s() - wall);
  for (int i = 0; i < DS_CACHE_KINDS; i++) bytes += ds_cache_plane_bytes(&f, i);
  printf("{\"what\": \"read prepared %s\", \"size\": [%d, %d], \"samples_per_core_second\": %.0f, \"samples_per_second\": %.0f, "
         "\"bytes_per_flip\": %zu}\n", name, H, W, per_cpu, per_wall, bytes);
  room_free(&to);
  ds_cache_close(&c);
  if (per_cpu < WANTED) fail_msg("%s: %.0f samples a second of a core, %d wanted", name, per_cpu, WANTED);
}

static void depth(void **state) { measure(state, "depth", DS_NEED_METRIC); }
static void normals(void **state) { measure(state, "normals", DS_NEED_NORMALS); }

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(depth, tmpdir_setup, tmpdir_teardown),
                                     cmocka_unit_test_setup_teardown(normals, tmpdir_setup, tmpdir_teardown)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
