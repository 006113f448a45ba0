/* tests/support/gradcheck.h: derivative check in double for any scalar function, two evaluations a direction. */
#ifndef TESTS_SUPPORT_GRADCHECK_H
#define TESTS_SUPPORT_GRADCHECK_H
#include <math.h>

typedef double (*gradcheck_fn)(const double *x, void *ctx);

/* Relative error between <grad,u> and the central difference of f along u.
 * x, grad, u: [n]; y: [n] scratch; h: step, 1e-6 for functions of unit scale. */
static inline double gradcheck(gradcheck_fn f, void *ctx, int n, const double *x, const double *grad, const double *u,
                               double *y, double h) {
  double want = 0, got = 0;

  for (int i = 0; i < n; i++) want += grad[i] * u[i];
  for (int sign = 1; sign >= -1; sign -= 2) {
    for (int i = 0; i < n; i++) y[i] = x[i] + sign * h * u[i];
    got += sign * f(y, ctx) / (2 * h);
  }
  return fabs(got - want) / (fabs(got) + fabs(want) + 1e-12);
}

/* The same for element i alone. */
static inline double gradcheck_one(gradcheck_fn f, void *ctx, int n, const double *x, double grad_i, int i, double *y,
                                   double h) {
  double got = 0;

  for (int sign = 1; sign >= -1; sign -= 2) {
    for (int j = 0; j < n; j++) y[j] = x[j] + (j == i ? sign * h : 0);
    got += sign * f(y, ctx) / (2 * h);
  }
  return fabs(got - grad_i) / (fabs(got) + fabs(grad_i) + 1e-12);
}
#endif
