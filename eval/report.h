/* eval/report.h: evaluations as people and programs read them. */
#ifndef EVAL_REPORT_H
#define EVAL_REPORT_H
#include <stdio.h>

#include "eval/evaluate.h"
#ifdef __cplusplus
extern "C" {
#endif
/* What was evaluated, for the reader: shown as they are, may be NULL. */
typedef struct ev_report {
  const ev_result *results;
  int n;
  const char *source;   /* model folder, or folder of predictions */
  const char *version;
} ev_report;

/* One line a set; depth and normals have their own tables. */
void ev_report_table(const ev_report *r, FILE *f);
/* One line an image: set, image, height, width, valid, scale, shift, metrics, problem. Errors: E_DISK, E_IO. */
int ev_report_csv(const ev_report *r, const char *path);
/* One set: an object with the metrics' names as keys (null when nothing could be measured), images, failed, failures
 * [{image, problem}] and what was evaluated how; several: {"sets": [these objects]}. `images` counts the measured ones.
 * Errors: E_DISK, E_IO, E_NOMEM. */
int ev_report_json(const ev_report *r, const char *path);
/* One page that needs nothing else: best and worst images, error maps, histograms. Errors: E_DISK, E_IO, E_NOMEM. */
int ev_report_html(const ev_report *r, const char *path);
/* Images that could not be measured, of all sets. */
int64_t ev_report_failed(const ev_report *r);
#ifdef __cplusplus
}
#endif
#endif
