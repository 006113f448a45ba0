/* base/sha256: the digests of FIPS 180-4's examples and of sizes around the block and the reader's chunk. */
#include "base/sha256.h"

#include "tests/support/tmpdir.h"

static void check_digest(void **state, const char *data, size_t n, const char *want) {
  const char *path = tmpdir_at(state, "file");
  char hex[65];

  tmpdir_put(path, data, n);
  check_ok(sha256_file(path, hex));
  assert_string_equal(hex, want);
}

static void known(void **state) {
  const size_t million = 1000000, chunk = 1 << 20;
  char *many = malloc(chunk + 1);

  assert_non_null(many);
  memset(many, 'a', chunk + 1);
  check_digest(state, "", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  check_digest(state, "abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  check_digest(state, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  check_digest(state, many, million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  check_digest(state, many, chunk + 1, "4a3f0c0c213adea174f9a3d4c13177315b588bdb2e9c1012d3d0bf0453ca0f6a");
  free(many);
}

static void unreadable(void **state) {
  char hex[65];
  check_fails(E_IO, "none: cannot open", sha256_file(tmpdir_at(state, "none"), hex));
  check_fails(E_IO, "cannot read", sha256_file(tmpdir_at(state, "."), hex));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
  const struct CMUnitTest tests[] = {TEST(known), TEST(unreadable)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
