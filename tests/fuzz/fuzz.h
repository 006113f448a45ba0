/* tests/fuzz/fuzz.h: what the fuzz targets share: the input as a file, since our parsers take paths.
 * A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput. gcc links it with replay.c, which runs the corpus and
 * mutations of it; scripts/fuzz.sh builds it for clang's libFuzzer. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file in memory that holds the input; its path is lent until the next call. */
static inline const char *fuzz_file(const uint8_t *data, size_t size) {
  static int fd = -1;
  static char path[64];

  if (fd < 0) {
    fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  }
  if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
  return path;
}

/* What a parser says of bad input: never nothing. */
static inline void fuzz_need_message(int status) {
  if (status != OK && !*err_text()) abort();
}

/* Reads all n bytes, so that the sanitizers see whether they are there. */
static inline void fuzz_touch(const void *data, size_t n) {
  static volatile uint8_t sum;
  const uint8_t *p = data;

  for (size_t i = 0; i < n; i++) sum = (uint8_t)(sum + p[i]);
}
#endif
