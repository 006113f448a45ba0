#include "kernels/cuda.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda_table.h"

/* Folder of the running program. */
static int program_dir(char out[PATH_MAX]) {
  int st = OK;
  const ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);

  NEED(n > 0, E_DEVICE, "CUDA kernels: the program's own folder is unknown");
  out[n] = 0;
  *strrchr(out, '/') = 0;
out:
  return st;
}

int kn_cuda_open(const char *dir, const kn_cuda **out) {
  int st = OK;
  char own[PATH_MAX], path[PATH_MAX + 32];
  void *library = NULL;
  kn_cuda_entry_fn entry = NULL;
  const kn_cuda *kernels = NULL;

  if (!dir) {
    TRY(program_dir(own));
    dir = own;
  }
  snprintf(path, sizeof path, "%s/libe2eft_kernels.so", dir);
  NEED((library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) != NULL, E_DEVICE, "CUDA kernels: %s", dlerror());
  void *symbol = dlsym(library, KN_CUDA_ENTRY);
  memcpy(&entry, &symbol, sizeof entry); /* POSIX's way from an object to a function pointer */
  if (entry) kernels = entry(sizeof *kernels, err_set);
  NEED(kernels, E_DEVICE, "%s is of another version of this program", path);
  *out = kernels;
out:
  if (st != OK && library) dlclose(library);
  return st;
}
