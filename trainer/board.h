/* trainer/board.h: TensorBoard's event files: scalars and pictures by step. A record is its length, the length's checksum,
 * the protobuf message, the message's checksum (masked CRC-32C, little endian). Source: tensorflow/core/lib/io/record_writer.cc,
 * tensorflow/core/util/event.proto. */
#ifndef TRAINER_BOARD_H
#define TRAINER_BOARD_H
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "datasets/loader.h"
#include "trainer/metrics.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_board tr_board;
/* A new file in DIR/tensorboard, which is made. step: steps done before; TensorBoard then drops what earlier files of the run
 * say of later ones. Errors: E_DISK, E_IO, E_NOMEM. */
int tr_board_open(const char *dir, int64_t step, tr_board **out);
/* Takes NULL. What was added is on its way to the disk after each call already. */
void tr_board_close(tr_board **b);
/* A non-finite value is written as it is: TensorBoard marks it. Errors: as tr_board_open. */
int tr_board_scalar(tr_board *b, const char *tag, int64_t step, double value);
/* png: a whole PNG file of H x W. */
int tr_board_image(tr_board *b, const char *tag, int64_t step, const void *png, size_t n, int H, int W);
/* loss, loss/<data set> (the mean over the step's groups of it; names: one a data set), grad_norm, lr, samples_per_second,
 * data_wait, peak_bytes. groups [m->groups]. */
int tr_board_step(tr_board *b, const tr_metrics *m, ds_group *const *groups, const char *const *names, int nsets);

/* CRC-32C (Castagnoli) of n bytes. */
uint32_t tr_crc32c(const void *data, size_t n);
#ifdef __cplusplus
}
#endif
#endif
