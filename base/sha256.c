#include "base/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20 };

static int digest(FILE *f, const char *path, EVP_MD_CTX *ctx, char *chunk, unsigned char out[EVP_MAX_MD_SIZE]) {
  int st = OK;
  size_t n;

  NEED(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL), E_FAIL, "%s: libcrypto has no SHA-256", path);
  while ((n = fread(chunk, 1, CHUNK, f)))
    NEED(EVP_DigestUpdate(ctx, chunk, n), E_FAIL, "%s: SHA-256 failed", path);
  NEED(!ferror(f), E_IO, "%s: cannot read: %s", path, strerror(errno));
  NEED(EVP_DigestFinal_ex(ctx, out, NULL), E_FAIL, "%s: SHA-256 failed", path);
out:
  return st;
}

int sha256_file(const char *path, char hex[65]) {
  int st = OK;
  unsigned char sum[EVP_MAX_MD_SIZE];
  FILE *f = fopen(path, "rb");
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  char *chunk = malloc(CHUNK);

  NEED(f, E_IO, "%s: cannot open: %s", path, strerror(errno));
  NEED(ctx && chunk, E_NOMEM, "%s: SHA-256", path);
  TRY(digest(f, path, ctx, chunk, sum));
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", sum[i]);
out:
  if (f) fclose(f);
  EVP_MD_CTX_free(ctx);
  free(chunk);
  return st;
}
