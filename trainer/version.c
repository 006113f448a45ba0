#include "trainer/version.h"

#include "tchc/tchc.h"

const char *tr_version(void) { return E2EFT_VERSION; }
const char *tr_commit(void) { return E2EFT_COMMIT; }

void tr_version_print(FILE *f) {
  fprintf(f, "e2eft %s (commit %s, libtorch %s)\n", tr_version(), tr_commit(), tchc_torch_version());
}
