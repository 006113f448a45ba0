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

/* From dir, or from where programs keep theirs: beside the program where it was built, in ../lib where it is installed,
 * one above the tests. path gets the one that is there, or the first. */
static int find_library(const char *dir, char path[PATH_MAX + 64]) {
  static const char *const places[] = {"", "/../lib", "/.."};
  int st = OK;
  char own[PATH_MAX];

  if (dir) {
    snprintf(path, PATH_MAX + 64, "%s/libe2eft_kernels.so", dir);
    goto out;
  }
  TRY(program_dir(own));
  for (int i = 0; i < 3; i++) {
    snprintf(path, PATH_MAX + 64, "%s%s/libe2eft_kernels.so", own, places[i]);
    if (!access(path, F_OK)) goto out;
  }
  snprintf(path, PATH_MAX + 64, "%s/libe2eft_kernels.so", own);
out:
  return st;
}

int kn_cuda_open(const char *dir, const kn_cuda **out) {
  int st = OK;
  char path[PATH_MAX + 64];
  void *library = NULL;
  kn_cuda_entry_fn entry = NULL;
  const kn_cuda *kernels = NULL;
  const kn_cuda_layout here = kn_cuda_layout_here();

  TRY(find_library(dir, path));
  NEED((library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) != NULL, E_DEVICE, "CUDA kernels: %s", dlerror());
  void *symbol = dlsym(library, KN_CUDA_ENTRY);
  memcpy(&entry, &symbol, sizeof entry); /* POSIX's way from an object to a function pointer */
  if (entry) kernels = entry(&here, err_set);
  NEED(kernels, E_DEVICE, "%s is of another version of this program", path);
  *out = kernels;
out:
  if (st != OK && library) dlclose(library);
  return st;
}
