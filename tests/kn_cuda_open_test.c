/* tests/kn_cuda_open_test.c: the kernels' library is found, refused and heard; none of it needs a GPU. */
#include <dlfcn.h>

#include "kernels/cuda_table.h"
#include "tests/support/tmpdir.h"

static void where_there_is_none(void **state) {
  const kn_cuda *k = NULL;

  check_fails(E_DEVICE, "libe2eft_kernels.so", kn_cuda_open(tmpdir_at(state, "nowhere"), &k));
  assert_null(k);
}

static void what_is_no_library(void **state) {
  const kn_cuda *k = NULL;

  check_ok(io_write_file(tmpdir_at(state, "libe2eft_kernels.so"), "not ELF", 7));
  check_fails(E_DEVICE, "libe2eft_kernels.so", kn_cuda_open(*state, &k));
}

#ifdef E2EFT_KERNELS_DIR
static void of_another_build(void **state) {
  kn_cuda_layout other = kn_cuda_layout_here();
  kn_cuda_entry_fn entry = NULL;
  void *library = dlopen(E2EFT_KERNELS_DIR "/libe2eft_kernels.so", RTLD_NOW | RTLD_LOCAL), *symbol;

  (void)state;
  assert_non_null(library);
  assert_non_null(symbol = dlsym(library, KN_CUDA_ENTRY));
  memcpy(&entry, &symbol, sizeof entry);
  assert_non_null(entry(&other, err_set));
  other.group_norm += 8;
  assert_null(entry(&other, err_set));
  dlclose(library);
}

/* Errors arise in the library and are read here. */
static void its_errors_are_ours(void **state) {
  const kn_cuda *k = NULL;

  (void)state;
  check_ok(kn_cuda_open(NULL, &k)); /* one folder above the tests */
  check_ok(kn_cuda_open(E2EFT_KERNELS_DIR, &k));
  check_fails(E_SHAPE, "softmax: [-1,2]", k->softmax(NULL, KN_F32, -1, 2, 1, NULL));
  check_ok(k->softmax(NULL, KN_F32, 0, 2, 1, NULL));
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(where_there_is_none, tmpdir_setup, tmpdir_teardown),
      cmocka_unit_test_setup_teardown(what_is_no_library, tmpdir_setup, tmpdir_teardown),
#ifdef E2EFT_KERNELS_DIR
      cmocka_unit_test(of_another_build), cmocka_unit_test(its_errors_are_ours),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
