/* tests/support/micro_batches.h: the golden micro-batches as a data set of kind `batches`. */
#ifndef TESTS_SUPPORT_MICRO_BATCHES_H
#define TESTS_SUPPORT_MICRO_BATCHES_H
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/safetensors.h"

/* Splits golden/train/micro_batches.safetensors (`<i>.rgb`, `<i>.metric`, `<i>.val_mask`, `<i>.normals`) into
 * dir/NNNNNN.safetensors with rgb, metric, mask (u8) and normals, one a group, in order. n: number of files out. */
static inline int micro_batches_split(const char *file, const char *dir, int *n) {
  static const struct { const char *from, *to; } names[] = {
      {"rgb", "rgb"}, {"metric", "metric"}, {"normals", "normals"}, {"val_mask", "mask"}};
  int st = OK, i = 0;
  st_file *f = NULL;
  char key[64], path[IO_PATH_MAX];

  TRY(io_make_dirs(dir));
  TRY(st_open(file, &f));
  for (;; i++) {
    st_tensor t[4];
    for (int k = 0; k < 4; k++) {
      snprintf(key, sizeof key, "%d.%s", i, names[k].from);
      const st_tensor *in = st_find(f, key);
      if (!in && k == 0) goto done;
      NEED(in, E_FORMAT, "%s: no tensor '%s'", file, key);
      t[k] = *in;
      t[k].name = names[k].to;
      if (t[k].dtype == ST_BOOL) t[k].dtype = ST_U8; /* both are bytes of 0 and 1 */
    }
    TRY(io_path(path, "%s/%06d.safetensors", dir, i));
    TRY(st_write(path, t, 4, NULL, 0));
  }
done:
  NEED(i > 0, E_FORMAT, "%s: no tensor '0.rgb'", file);
  *n = i;
out:
  st_close(&f);
  return st;
}
#endif
