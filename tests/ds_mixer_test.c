#include "datasets/mixer.h"

#include <math.h>

#include "base/rng.h"
#include "tests/support/check.h"

enum { GROUP = 3, PER_STEP = 4 };

typedef struct drawn {
  int dataset, n;
  ds_pick pick[GROUP];
} drawn;

static const ds_mix_entry three[] = {
    {.weight = 3, .count = 10, .samples_per_item = 1, .shuffle = true, .flip = 0.5},
    {.weight = 1, .count = 7, .samples_per_item = 1, .shuffle = false, .flip = 0.25},
    {.weight = 2, .count = 5, .samples_per_item = GROUP, .shuffle = false, .flip = 0},
};

static ds_mixer *make(uint64_t seed, const ds_mix_entry *e, int n) {
  ds_mixer *m = NULL;
  check_ok(ds_mixer_create(seed, e, n, GROUP, PER_STEP, &m));
  return m;
}

static drawn draw(ds_mixer *m, int64_t G) {
  drawn d;
  memset(&d, 0, sizeof d);
  check_ok(ds_mixer_group(m, 1 + G / PER_STEP, (int)(G % PER_STEP), &d.dataset, d.pick));
  d.n = ds_mixer_picks(m, d.dataset);
  return d;
}

static void same(const drawn *a, const drawn *b) {
  assert_int_equal(a->dataset, b->dataset);
  for (int j = 0; j < a->n; j++) {
    assert_int_equal(a->pick[j].item, b->pick[j].item);
    assert_int_equal(a->pick[j].flip, b->pick[j].flip);
  }
}

/* In order, at random, from far ahead and back: always the same groups. */
static void any_order_gives_the_same(void **state) {
  enum { N = 5000 };
  const int64_t far = (int64_t)20000 * 16;
  ds_mixer *m = make(11, three, 3), *other = make(11, three, 3);
  drawn *row = calloc(N, sizeof *row);
  const rng_key k = rng_stream(1, "test", 0, 0);
  (void)state;

  assert_non_null(row);
  for (int64_t G = 0; G < N; G++) row[G] = draw(m, G);
  const drawn ahead = draw(m, far);
  for (int i = 0; i < N; i++) {
    const int64_t G = (int64_t)rng_below(&k, (uint64_t)i, N);
    const drawn d = draw(other, G);
    same(&row[G], &d);
    if (i % 1000) continue;
    const drawn jump = draw(other, far);
    same(&ahead, &jump);
  }
  free(row);
  ds_mixer_destroy(&m);
  ds_mixer_destroy(&other);
  assert_null(m);
}

/* The picks of each data set, laid end to end, are epochs: every item once in each, also across group ends.
 */
static void epochs_hold_each_item_once(void **state) {
  enum { N = 2000 };
  ds_mixer *m = make(5, three, 3);
  int seen[3][16] = {{0}}, n[3] = {0}, moved = 0;
  int64_t last[3][16] = {{0}};
  (void)state;

  for (int64_t G = 0; G < N; G++) {
    const drawn d = draw(m, G);
    const int c = (int)three[d.dataset].count;
    for (int j = 0; j < d.n; j++) {
      const int place = n[d.dataset]++ % c, epoch = (n[d.dataset] - 1) / c;
      const int64_t item = d.pick[j].item;
      assert_in_range(item, 0, c - 1);
      assert_int_equal(seen[d.dataset][item]++, epoch);
      if (!three[d.dataset].shuffle) assert_int_equal(item, place);
      if (d.dataset == 0 && epoch) moved += last[0][place] != item;
      last[d.dataset][place] = item;
    }
  }
  assert_true(moved > n[0] / 2); /* an order of its own for each epoch */
  ds_mixer_destroy(&m);
}

static void stored_groups_alone_follow_the_files(void **state) {
  ds_mixer *m = make(5, three + 2, 1);
  (void)state;

  for (int64_t step = 1; step < 100; step++)
    for (int g = 0; g < PER_STEP; g++) {
      int dataset;
      ds_pick pick;
      check_ok(ds_mixer_group(m, step, g, &dataset, &pick));
      assert_int_equal(pick.item, ((step - 1) * PER_STEP + g) % 5);
      assert_false(pick.flip);
    }
  ds_mixer_destroy(&m);
}

static void weights_are_chances(void **state) {
  enum { N = 60000 };
  ds_mixer *m = make(77, three, 3);
  double chi2 = 0;
  int n[3] = {0};
  (void)state;

  for (int64_t G = 0; G < N; G++) n[draw(m, G).dataset]++;
  for (int i = 0; i < 3; i++) {
    const double want = N * three[i].weight / 6;
    chi2 += (n[i] - want) * (n[i] - want) / want;
  }
  assert_true(chi2 < 13.8); /* two degrees of freedom: one in a thousand */
  ds_mixer_destroy(&m);
}

static void flips_have_their_rate_and_change_by_epoch(void **state) {
  enum { N = 20000 };
  ds_mixer *m = make(3, three, 3);
  double flips[3] = {0}, n[3] = {0};
  int item0[2] = {0};
  (void)state;

  for (int64_t G = 0; G < N; G++) {
    const drawn d = draw(m, G);
    for (int j = 0; j < d.n; j++) {
      flips[d.dataset] += d.pick[j].flip;
      n[d.dataset]++;
      if (d.dataset == 0 && d.pick[j].item == 0) item0[d.pick[j].flip]++;
    }
  }
  for (int i = 0; i < 3; i++)
    assert_true(fabs(flips[i] / n[i] - three[i].flip) <=
                4 * sqrt(three[i].flip * (1 - three[i].flip) / n[i]));
  assert_true(item0[0] > 0 && item0[1] > 0);
  ds_mixer_destroy(&m);
}

static void seeds_and_data_sets_differ(void **state) {
  const ds_mix_entry twins[] = {three[0], three[0]};
  ds_mixer *a = make(1, three, 1), *b = make(2, three, 1), *t = make(1, twins, 2), *u = make(2, twins, 2);
  int differ = 0, sets_differ = 0, twin_differ = 0, n[2] = {0};
  int64_t order[2][30];
  (void)state;

  for (int64_t G = 0; G < 30; G++) {
    const drawn da = draw(a, G), db = draw(b, G), dt = draw(t, G);
    differ += da.pick[0].item != db.pick[0].item;
    sets_differ += dt.dataset != draw(u, G).dataset;
    if (n[dt.dataset] < 30) order[dt.dataset][n[dt.dataset]++] = dt.pick[0].item;
  }
  for (int i = 0; i < n[0] && i < n[1]; i++) twin_differ += order[0][i] != order[1][i];
  assert_true(differ > 10 && sets_differ > 5);
  assert_true(twin_differ > 3);
  ds_mixer_destroy(&a);
  ds_mixer_destroy(&b);
  ds_mixer_destroy(&t);
  ds_mixer_destroy(&u);
}

/* Replacements try other items one after the other, none twice, never the bad one. */
static void replacements_are_other_items(void **state) {
  ds_mixer *m = make(9, three, 3);
  int first[10] = {0}, flips = 0, n = 0;
  (void)state;

  for (int64_t G = 0; G < 400; G++) {
    const drawn d = draw(m, G);
    const int64_t step = 1 + G / PER_STEP;
    const int g = (int)(G % PER_STEP), count = (int)three[d.dataset].count;
    for (int j = 0; j < d.n; j++) {
      unsigned seen = 1u << d.pick[j].item;
      for (int a = 1; a < count && a <= 8; a++) {
        ds_pick p, again;
        check_ok(ds_mixer_replace(m, step, g, j, a, d.dataset, &p));
        check_ok(ds_mixer_replace(m, step, g, j, a, d.dataset, &again));
        assert_int_equal(p.item, again.item);
        assert_int_equal(p.flip, again.flip);
        assert_in_range(p.item, 0, count - 1);
        assert_false(seen >> p.item & 1);
        seen |= 1u << p.item;
        if (d.dataset) continue;
        first[p.item] += a == 1;
        flips += p.flip;
        n++;
      }
      ds_pick p;
      if (count <= 8)
        check_fails(E_DATA, "were tried", ds_mixer_replace(m, step, g, j, count, d.dataset, &p));
    }
  }
  for (int i = 0; i < 10; i++) assert_true(first[i] > 20); /* about 60 each */
  assert_true(abs(2 * flips - n) < n / 10);
  ds_mixer_destroy(&m);
}

static void wrong_entries_are_named(void **state) {
  ds_mix_entry e[2] = {three[0], three[1]};
  ds_mixer *m = NULL;
  (void)state;

  check_fails(E_CONFIG, "no entries", ds_mixer_create(1, e, 0, 2, 1, &m));
  check_fails(E_CONFIG, "groups of 0", ds_mixer_create(1, e, 2, 0, 1, &m));
  e[1].count = 0;
  check_fails(E_DATA, "data.1: no samples", ds_mixer_create(1, e, 2, 2, 1, &m));
  e[1] = three[1];
  e[1].weight = 0;
  check_fails(E_CONFIG, "data.1.weight", ds_mixer_create(1, e, 2, 2, 1, &m));
  e[1].weight = NAN;
  check_fails(E_CONFIG, "data.1.weight", ds_mixer_create(1, e, 2, 2, 1, &m));
  e[1] = three[1];
  e[1].flip = 1.5;
  check_fails(E_CONFIG, "data.1.flip", ds_mixer_create(1, e, 2, 2, 1, &m));
  e[1] = three[1];
  e[1].samples_per_item = 2;
  check_fails(E_DATA, "data.1: a file of 2 samples", ds_mixer_create(1, e, 2, 3, 1, &m));
  assert_null(m);
  ds_mixer_destroy(&m);
}

static void one_item_repeats(void **state) {
  const ds_mix_entry one = {.weight = 1, .count = 1, .samples_per_item = 1, .shuffle = true, .flip = 1};
  ds_mixer *m = make(1, &one, 1);
  ds_pick p;
  (void)state;

  for (int64_t G = 0; G < 10; G++) {
    const drawn d = draw(m, G);
    for (int j = 0; j < GROUP; j++) assert_true(d.pick[j].item == 0 && d.pick[j].flip);
  }
  check_fails(E_DATA, "all 1 items were tried", ds_mixer_replace(m, 1, 0, 0, 1, 0, &p));
  ds_mixer_destroy(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_order_gives_the_same),
      cmocka_unit_test(epochs_hold_each_item_once),
      cmocka_unit_test(stored_groups_alone_follow_the_files),
      cmocka_unit_test(weights_are_chances),
      cmocka_unit_test(flips_have_their_rate_and_change_by_epoch),
      cmocka_unit_test(seeds_and_data_sets_differ),
      cmocka_unit_test(replacements_are_other_items),
      cmocka_unit_test(wrong_entries_are_named),
      cmocka_unit_test(one_item_repeats),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
