/* datasets/png.h: PNG files by libpng's low-level reader, with limits on size and memory. Ancillary chunks are
 * skipped. */
#ifndef DATASETS_PNG_H
#define DATASETS_PNG_H
#include "datasets/buffer.h"
#ifdef __cplusplus
extern "C" {
#endif
/* out [H,W,3] u8. RGB or grey, 8 or 16 bit, with or without alpha: alpha is dropped, grey repeated, of 16 bits the
 * high byte kept, as Pillow's convert("RGB") does for RGB files. Errors: E_DATA "path: truncated at row N of H" and
 * the like, E_NOMEM. */
int ds_png_read_rgb8(const char *path, ds_buf *out, int *H, int *W);
/* out [H,W] u16. 16-bit grey and nothing else. Errors: as above. */
int ds_png_read_grey16(const char *path, ds_buf *out, int *H, int *W);
/* As stored: out [H,W,channels], channels 1 or 3 (alpha is dropped), bits 8 (u8) or 16 (u16, host order). Palettes and
 * fewer bits are refused. Errors: as above. */
int ds_png_read(const char *path, ds_buf *out, int *H, int *W, int *channels, int *bits);
/* The same from a file in memory, data [n]; path is for messages. */
int ds_png_decode_rgb8(const char *path, const void *data, size_t n, ds_buf *out, int *H, int *W);
int ds_png_decode_grey16(const char *path, const void *data, size_t n, ds_buf *out, int *H, int *W);
int ds_png_decode(const char *path, const void *data, size_t n, ds_buf *out, int *H, int *W, int *channels, int *bits);
/* Of the header alone. Errors: E_DATA. */
int ds_png_size(const char *path, int *H, int *W);
#ifdef __cplusplus
}
#endif
#endif
