#include "datasets/png.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(data, size);
  static ds_buf out;
  int H, W, channels, bits;

  if (ds_png_size(path, &H, &W) != OK) {
    fuzz_need_message(E_DATA);
    return 0;
  }
  if ((int64_t)H * W > 1 << 22) return 0; /* only slow: a few bytes may say 64 million pixels */
  if (ds_png_read(path, &out, &H, &W, &channels, &bits) == OK) fuzz_touch(out.p, (size_t)H * (size_t)W * (size_t)(channels * bits / 8));
  if (ds_png_read_rgb8(path, &out, &H, &W) == OK) fuzz_touch(out.p, 3 * (size_t)H * (size_t)W);
  if (ds_png_read_grey16(path, &out, &H, &W) == OK) fuzz_touch(out.p, 2 * (size_t)H * (size_t)W);
  return 0;
}
