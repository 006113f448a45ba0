/* Both readers of .npy: that of images and that of dumps. */
#include "base/npy.h"
#include "datasets/array.h"
#include "tests/fuzz/fuzz.h"

static void read_image(const char *path) {
  static ds_buf file, floats;
  ds_array a;
  int H, W, C;
  int st = ds_npy_read(path, &file, &a);

  fuzz_need_message(st);
  if (st != OK || ds_array_size(&a, path, &H, &W, &C) != OK) return;
  if (ds_buf_need(&floats, sizeof(float) * (size_t)H * (size_t)W * (size_t)C) != OK) return;
  st = ds_array_floats(&a, path, floats.p);
  if (st != OK) abort();
}

static void read_dump(const char *path) {
  int ndim;
  int64_t shape[8];
  float *data = NULL;
  const int st = npy_load_f32(path, &ndim, shape, &data);

  fuzz_need_message(st);
  if (st != OK) return;
  size_t n = 1;
  for (int i = 0; i < ndim; i++) n *= (size_t)shape[i];
  fuzz_touch(data, n * sizeof *data);
  free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(data, size);

  read_image(path);
  read_dump(path);
  return 0;
}
