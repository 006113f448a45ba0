/* checkpoints/pyjson.h: JSON text as Python's json.dumps(value, indent=2, sort_keys=True) writes it, which is how
 * diffusers writes its config files: a config that goes through this program comes out with the same bytes.
 * Differs in two things: non-ASCII text stays UTF-8, and there are no NaN or Infinity (jansson has none). */
#ifndef CHECKPOINTS_PYJSON_H
#define CHECKPOINTS_PYJSON_H
#include <jansson.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
/* Writes value and a line end to path, durably. Errors: E_DISK, E_IO, E_NOMEM. */
int ck_pyjson_write(const char *path, const json_t *value);
/* The same to DIR/NAME; a value of NULL, which could not be made, is E_NOMEM. */
int ck_pyjson_write_in(const char *dir, const char *name, const json_t *value);
#ifdef __cplusplus
}
#endif
#endif
