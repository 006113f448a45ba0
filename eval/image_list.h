/* eval/image_list.h: the images of a command line and the names of what is made of them. */
#ifndef EVAL_IMAGE_LIST_H
#define EVAL_IMAGE_LIST_H
#include "eval/predict.h"
#ifdef __cplusplus
extern "C" {
#endif
/* name: what results are called, relative to the output folder and without extension. */
typedef struct ev_image_file { char *path, *name; } ev_image_file;
/* Starts as {0}. */
typedef struct ev_image_list {
  ev_image_file *at;
  size_t n, room;
  const char *skip; /* a folder that is passed over inside others: where results go; or NULL */
} ev_image_list;

/* A file of any name, called by its stem, or a folder: all .png, .jpg and .jpeg in it and in its subfolders, sorted, called
 * by their path in it; names that start with '.' are passed over. Errors: E_DATA: nothing there, no image in a folder. */
int ev_image_list_add(ev_image_list *l, const char *path);
/* Names that would share a file of results get "-2", "-3" and so on, in list order, with one log line each.
 * Errors: E_CONFIG: results in `out` would overwrite one of the images; E_NOMEM. */
int ev_image_list_name(ev_image_list *l, const char *out);
void ev_image_list_free(ev_image_list *l);

/* PNG or JPEG, told by its first bytes; a JPEG is turned upright as its Exif header says. `file` is scratch. Errors: E_DATA
 * naming the file, E_NOMEM. */
int ev_image_read(const char *path, ds_buf *file, ev_image *out);
#ifdef __cplusplus
}
#endif
#endif
