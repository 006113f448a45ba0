/* datasets/image_write.h: PNG and JPEG files, written through base/io.h. */
#ifndef DATASETS_IMAGE_WRITE_H
#define DATASETS_IMAGE_WRITE_H
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* channels 1 (grey), 3 (RGB) or 4 (RGBA); pixels [H,W,channels], 8 bit. Errors: E_DISK, E_IO, E_NOMEM. */
int ds_png_write8(const char *path, int W, int H, int channels, const uint8_t *pixels);
/* The same into memory: *data [*n] from malloc. Errors: E_FAIL, E_NOMEM. */
int ds_png_encode8(int W, int H, int channels, const uint8_t *pixels, unsigned char **data, size_t *n);
/* channels 1 or 3; host byte order. */
int ds_png_write16(const char *path, int W, int H, int channels, const uint16_t *pixels);
/* pixels [H,W,3]; quality 1..100, 4:4:4. */
int ds_jpeg_write(const char *path, int W, int H, const uint8_t *pixels, int quality);
#ifdef __cplusplus
}
#endif
#endif
