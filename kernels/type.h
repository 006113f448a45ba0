/* kernels/type.h: what the entries of all kernels have in common.
 *
 * Functions named *_ref work on host memory, in plain C: what a kernel is tested against. Functions named *_cuda take
 * device pointers: queued on `stream` (a cudaStream_t; NULL: the default one), they return at once, never synchronise,
 * allocate nothing (workspaces come from the caller) and do nothing for empty input. They use no atomics: results are
 * the same bits each time, and those of one image do not depend on how many are in the batch. Errors: E_SHAPE for sizes
 * and alignments that a kernel does not take, E_DEVICE when the launch fails. They are called through kernels/cuda.h.
 *
 * Images are NHWC: [N,HW,C], channels fastest. Arithmetic is f32 whatever the type of the elements. A buffer is best
 * aligned to 16 bytes and its rows a multiple of 16 bytes long; others take a slower path. */
#ifndef KERNELS_TYPE_H
#define KERNELS_TYPE_H
#ifdef __cplusplus
extern "C" {
#endif
typedef enum {
  KN_F32,
  KN_BF16,
  KN_TYPE_WIDEST = 0x7fffffff /* C may pass any int, and the C++ side is to refuse it: every int must be a legal value */
} kn_type;
#ifdef __cplusplus
}
#endif
#endif
