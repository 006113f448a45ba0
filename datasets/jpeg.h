/* datasets/jpeg.h: JPEG files by turbojpeg: accurate DCT and smooth chroma upsampling, as Pillow decodes. */
#ifndef DATASETS_JPEG_H
#define DATASETS_JPEG_H
#include "datasets/buffer.h"
#ifdef __cplusplus
extern "C" {
#endif
/* out [H,W,3] u8 RGB; a grey file is repeated, CMYK refused. `file` is scratch for the file's bytes.
 * Errors: E_DATA with the library's text; its warnings (a file that ends too early, say) are errors too. E_NOMEM. */
int ds_jpeg_read_rgb8(const char *path, ds_buf *file, ds_buf *out, int *H, int *W);
/* Of the header alone. Errors: as above. */
int ds_jpeg_size(const char *path, ds_buf *file, int *H, int *W);
/* The same from a file in memory, data [n]; path is for messages. */
int ds_jpeg_decode_rgb8(const char *path, const void *data, size_t n, ds_buf *out, int *H, int *W);
#ifdef __cplusplus
}
#endif
#endif
