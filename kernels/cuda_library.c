/* kernels/cuda_library.c: the library's entry, and its errors: they are set in the program that opened it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda_table.h"

static kn_err_set host_err_set; /* once, by the entry, before any kernel */

int err_set(int code, const char *file, int line, const char *fmt, ...) {
  char text[512];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return host_err_set(code, file, line, "%s", text);
}

/* The trail begins where the message arose. */
int err_hop(int code, const char *file, int line) {
  (void)file, (void)line;
  return code;
}

__attribute__((visibility("default"))) const kn_cuda *kn_cuda_entry_2(const kn_cuda_layout *layout, kn_err_set err_set_of_host);
const kn_cuda *kn_cuda_entry_2(const kn_cuda_layout *layout, kn_err_set err_set_of_host) {
  const kn_cuda_layout here = kn_cuda_layout_here();

  host_err_set = err_set_of_host;
  return memcmp(layout, &here, sizeof here) == 0 ? &kn_cuda_kernels : NULL;
}
