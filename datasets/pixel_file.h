/* datasets/pixel_file.h: images of any format that is read: .png (8 and 16 bit), .jpg, .npy, and .h5 or .hdf5, where
 * "file.h5:name" picks a dataset of the file. The ending decides. Not thread-safe on one reader. */
#ifndef DATASETS_PIXEL_FILE_H
#define DATASETS_PIXEL_FILE_H
#include "datasets/h5.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { DS_FILE_UNKNOWN, DS_FILE_PNG, DS_FILE_JPEG, DS_FILE_NPY, DS_FILE_H5 } ds_file_format;
/* By the path's ending, in either case. *file: the length of the part that names the file (without ":name"). */
ds_file_format ds_file_format_of(const char *path, size_t *file);

/* Scratch, reused from file to file. Starts as {0}. */
typedef struct ds_pixel_reader {
  ds_buf file, pixels, floats;
  ds_h5 h5;
} ds_pixel_reader;
void ds_pixel_reader_free(ds_pixel_reader *r);

/* Height and width; of PNG by the header alone. Errors: E_DATA. */
int ds_pixels_size(ds_pixel_reader *r, const char *path, int *H, int *W);
/* out [H,W,3] u8, grey repeated. Arrays: u8; u16, of which the high byte counts; floats in 0..1. Errors: E_DATA naming
 * the file; E_NOMEM. */
int ds_pixels_rgb8(ds_pixel_reader *r, const char *path, ds_buf *out, int *H, int *W);
/* out f32 [H,W,channels] (channels 1 or 3), the numbers as stored; *stored: their type in the file. JPEG is refused:
 * its numbers are not those that were put in. Errors: as above. */
int ds_pixels_floats(ds_pixel_reader *r, const char *path, int channels, ds_buf *out, int *H, int *W,
                     el_type *stored);
#ifdef __cplusplus
}
#endif
#endif
