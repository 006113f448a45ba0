#include <stddef.h>
#include <string.h>

#include "losses/loss.h"

extern const ls_kind ls_affine_l1, ls_angular;

const ls_kind *const ls_kinds[] = {&ls_affine_l1, &ls_angular, NULL};

const ls_kind *ls_find(const char *name) {
  for (const ls_kind *const *k = ls_kinds; *k; k++)
    if (strcmp((*k)->name, name) == 0) return *k;
  return NULL;
}
