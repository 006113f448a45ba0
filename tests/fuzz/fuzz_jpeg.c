#include "datasets/exif.h"
#include "datasets/jpeg.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(data, size);
  static ds_buf file, out;
  int H, W;

  if (ds_exif_orientation(data, size) < 1 || ds_exif_orientation(data, size) > 8) abort();
  const int st = ds_jpeg_size(path, &file, &H, &W);
  fuzz_need_message(st);
  if (st != OK || (int64_t)H * W > 1 << 20) return 0; /* only slow: a few bytes may say 64 million pixels */
  if (ds_jpeg_read_rgb8(path, &file, &out, &H, &W) == OK) fuzz_touch(out.p, 3 * (size_t)H * (size_t)W);
  return 0;
}
