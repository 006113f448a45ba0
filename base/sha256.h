/* base/sha256.h: SHA-256 of files, for weights that are handed over: sha256sum -c reads what is written with it. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H
#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* 64 hex digits and a 0 byte. Errors: E_IO, E_NOMEM. */
int sha256_file(const char *path, char hex[65]);
#ifdef __cplusplus
}
#endif
#endif
