/* eval/bfgs.h: minimising a function of a few variables without its derivatives. */
#ifndef EVAL_BFGS_H
#define EVAL_BFGS_H
#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef double (*ev_function)(void *ctx, const double *x);
/* x [n] in: the start, out: the minimum. Quasi-Newton steps (BFGS), each along a line to a point that satisfies the strong
 * Wolfe conditions (Moré and Thuente 1994; 1e-4 and 0.9), gradients by forward differences of 2^-26. It ends when the
 * largest component of the gradient is at most `tolerance`, after max_iterations steps, or where no step along the line
 * is good enough; none of these is an error. As scipy.optimize.minimize(method="BFGS"), but for its second line search.
 * value (may be NULL) out: f at x. Errors: E_NOMEM. */
int ev_bfgs(ev_function f, void *ctx, int n, double tolerance, int max_iterations, double *x, double *value);
#ifdef __cplusplus
}
#endif
#endif
