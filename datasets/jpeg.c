#include "datasets/jpeg.h"

#include <turbojpeg.h>

enum { FILE_MAX = 1 << 28 };

int ds_jpeg_decode_rgb8(const char *path, const void *data, size_t n, ds_buf *out, int *H, int *W) {
  int st = OK;
  int w, h, subsampling, colours;
  tjhandle tj = NULL;
  /* a damaged file is no grey area: stop at the first warning; few scans, or a small file could take minutes */
  const int flags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;

  NEED((tj = tjInitDecompress()) != NULL, E_NOMEM, "%s: %s", path, tjGetErrorStr2(NULL));
  NEED(tjDecompressHeader3(tj, data, n, &w, &h, &subsampling, &colours) == 0, E_DATA, "%s: %s", path,
       tjGetErrorStr2(tj));
  TRY(ds_size_check(path, h, w));
  NEED(colours != TJCS_CMYK && colours != TJCS_YCCK, E_DATA, "%s: wanted an RGB or grey JPEG, found CMYK", path);
  TRY(ds_buf_need(out, 3 * (size_t)w * (size_t)h));
  NEED(tjDecompress2(tj, data, n, out->p, w, 3 * w, h, TJPF_RGB, flags) == 0, E_DATA, "%s: %s", path,
       tjGetErrorStr2(tj));
  *H = h;
  *W = w;
out:
  if (tj) tjDestroy(tj);
  return st;
}

int ds_jpeg_size(const char *path, ds_buf *file, int *H, int *W) {
  int st = OK;
  int w, h, subsampling, colours;
  size_t n;
  tjhandle tj = NULL;

  TRY(ds_file_read(path, FILE_MAX, file, &n));
  NEED((tj = tjInitDecompress()) != NULL, E_NOMEM, "%s: %s", path, tjGetErrorStr2(NULL));
  NEED(tjDecompressHeader3(tj, file->p, n, &w, &h, &subsampling, &colours) == 0, E_DATA, "%s: %s", path,
       tjGetErrorStr2(tj));
  TRY(ds_size_check(path, h, w));
  *H = h;
  *W = w;
out:
  if (tj) tjDestroy(tj);
  return st;
}

int ds_jpeg_read_rgb8(const char *path, ds_buf *file, ds_buf *out, int *H, int *W) {
  int st = OK;
  size_t n;

  TRY(ds_file_read(path, FILE_MAX, file, &n));
  TRY(ds_jpeg_decode_rgb8(path, file->p, n, out, H, W));
out:
  return st;
}
