/* models/json.h: reads a model's configuration key by key. A key that nobody asked for is an error, so that a typo or a
 * feature this program does not have never passes unseen. Messages: "PATH: key: wanted ..., found ...".
 * Errors of all calls: E_CKPT. */
#ifndef MODELS_JSON_H
#define MODELS_JSON_H
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/io.h"
#ifdef __cplusplus
extern "C" {
#endif
/* As a default: the key must be there. */
#define MD_NEEDED INT_MIN
#define MD_NEEDED_F NAN

typedef struct md_json {
  char path[IO_PATH_MAX];
  json_t *root;  /* an object */
  json_t *asked; /* the keys asked for so far */
} md_json;

/* Reads DIR/FILE. what: how messages call it when it cannot be read, "U-Net configuration". flags: of jansson, more than
 * that duplicate keys are refused. */
int md_json_open(const char *what, const char *dir, const char *file, size_t flags, md_json *j);
void md_json_close(md_json *j);
/* Every key was asked for, or starts with '_' (notes of diffusers and transformers themselves). */
int md_json_finish(md_json *j);
/* The key's value, or NULL; counts as asked. */
json_t *md_json_get(md_json *j, const char *key);

int md_json_int(md_json *j, const char *key, int otherwise, int lo, int hi, int *out);
int md_json_real(md_json *j, const char *key, double otherwise, double lo, double hi, double *out);
int md_json_bool(md_json *j, const char *key, bool otherwise, bool *out);
/* One of the NULL-ended `choices`, by index; otherwise < 0: the key must be there. */
int md_json_choice(md_json *j, const char *key, int otherwise, const char *const *choices, int *out);
/* A list of 1..max integers. */
int md_json_list(md_json *j, const char *key, int max, int lo, int hi, int *out, int *n);
/* n integers, given as a list of n or as one for all. */
int md_json_ints(md_json *j, const char *key, int otherwise, int n, int lo, int hi, int *out);
/* A list of n strings, each one of `choices`. */
int md_json_choices(md_json *j, const char *key, int n, const char *const *choices, int *out);

/* A feature that is not supported: the key may be missing, or has one of the values (JSON texts) that mean "off". */
typedef struct md_json_off {
  const char *key, *off, *also; /* also: a second such value or NULL */
} md_json_off;
int md_json_want_off(md_json *j, const md_json_off *keys, int n);
/* Keys that cannot change the forward pass, NULL-ended. */
void md_json_pass(md_json *j, const char *const *keys);
/* A string that must be `wanted` if it is there. */
int md_json_want_string(md_json *j, const char *key, const char *wanted);

/* Fails with "PATH: key: wanted WANTED, found <the value>". */
int md_json_wrong(const md_json *j, const char *key, const char *wanted_fmt, ...) ERR_PRINTF(3, 4);
#ifdef __cplusplus
}
#endif
#endif
