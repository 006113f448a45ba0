/* trainer/prepare_report.h: what a folder of prepared data holds, for people. */
#ifndef TRAINER_PREPARE_REPORT_H
#define TRAINER_PREPARE_REPORT_H
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Counts of kept, filtered and broken items of data set `number`, the latter two by name, to f and to dir/report.txt.
 * Errors: E_DATA, E_DISK, E_IO. */
int tr_prepare_report(const char *dir, int number, FILE *f, int64_t *broken);
#ifdef __cplusplus
}
#endif
#endif
