/* checkpoints/history.h: the folders in RUN/checkpoints. For the files of this folder.
 *   step-NNNNNN       complete      step-NNNNNN.tmp   being written
 *   step-NNNNNN.old   complete, about to be replaced by one of the same step      step-NNNNNN.del   being removed */
#ifndef CHECKPOINTS_HISTORY_H
#define CHECKPOINTS_HISTORY_H
#include <stdint.h>

#include "base/io.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Path of RUN/checkpoints/step-NNNNNN + suffix. */
int ck_history_path(char out[IO_PATH_MAX], const char *run_dir, int64_t step, const char *suffix);
/* Steps that have a complete folder, ascending; free it. No checkpoints folder: none. */
int ck_history_steps(const char *run_dir, int64_t **steps, size_t *n);
/* Removes what killed runs left: .tmp, .del, and .old once its replacement is there (else it gets its name back). */
int ck_history_clean(const char *run_dir);
/* Gives step-NNNNNN.tmp its name, durably, in the place of one that is there. */
int ck_history_publish(const char *run_dir, int64_t step);
int ck_history_remove(const char *run_dir, int64_t step);
#ifdef __cplusplus
}
#endif
#endif
