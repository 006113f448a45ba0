/* eval/prediction_write.h: a prediction as files. */
#ifndef EVAL_PREDICTION_WRITE_H
#define EVAL_PREDICTION_WRITE_H
#include "eval/align.h"
#include "eval/predict.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { EV_COLOUR_SPECTRAL, EV_COLOUR_GREY, EV_COLOUR_NONE } ev_colour;
typedef struct ev_write_opts {
  const char *out;   /* folder */
  ev_colour colour;  /* of depth; normals are shown as (v + 1) / 2 */
  bool sheet;        /* the image and the coloured prediction side by side */
  bool uncertainty;  /* of an ensemble */
} ev_write_opts;
/* Writes OUT/NAME.npy (f32: depth [H,W] in [0,1], normals [3,H,W]) and OUT/NAME.png (16 bit: depth times 65535, normals
 * (v + 1) / 2 times 65535, rounded), and as the options say NAME_colour.png, NAME_sheet.png, NAME_uncertainty.npy.
 * Folders in NAME are made. Errors: E_DISK, E_IO, E_NOMEM. */
int ev_prediction_write(const ev_write_opts *o, const char *name, const ev_image *image, const ev_prediction *p);
/* Writes OUT/NAME_metric.npy, [H,W] metres: the depth p aligned in `space` to the points of the image that `points` names
 * (a file, or a folder with one for each image). Errors: as above, and E_DATA: no points, or none that fit. */
int ev_metric_write(const ev_write_opts *o, const char *name, const char *points, ev_alignment space, const ev_prediction *p);
#ifdef __cplusplus
}
#endif
#endif
