/* base/clones.h: hot loops compiled twice, once for processors with 256-bit vectors; which one runs is decided when the
 * program starts. Both give the same bits: no operation is fused or reordered (-ffp-contract=off). */
#ifndef BASE_CLONES_H
#define BASE_CLONES_H
#include <stddef.h>

/* The sanitizers' start-up comes after the decision is made and does not bear it. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__cplusplus) &&                      \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BASE_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define BASE_CLONES
#endif
#endif
