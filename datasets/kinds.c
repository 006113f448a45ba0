#include "datasets/kind.h"

extern const ds_kind ds_kind_hypersim, ds_kind_vkitti2, ds_kind_manifest, ds_kind_batches;

const ds_kind *const ds_kinds[] = {&ds_kind_hypersim, &ds_kind_vkitti2, &ds_kind_manifest, &ds_kind_batches, NULL};
