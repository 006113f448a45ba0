#include "base/safetensors.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  st_file *f = NULL;
  const int st = st_open(fuzz_file(data, size), &f);

  fuzz_need_message(st);
  if (st != OK) return 0;
  for (size_t i = 0; i < st_count(f); i++) {
    const st_tensor *t = st_at(f, i);
    if (st_find(f, t->name) != t || t->nbytes != (size_t)st_numel(t) * st_dtype_size(t->dtype)) abort();
    fuzz_touch(t->data, t->nbytes);
    float *out = malloc(sizeof *out * (size_t)st_numel(t) + 1);
    if (out) (void)st_to_f32(t, out);
    free(out);
  }
  (void)st_metadata(f, "ids");
  st_close(&f);
  return 0;
}
