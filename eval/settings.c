#include "eval/settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ev_settings_default(const ev_protocol *p, ev_settings *out) {
  *out = (ev_settings){.near_m = 1e-5f, .far_m = INFINITY};
  if (!p) return;
  out->box = p->box;
  out->benchmark_crop = p->benchmark_crop;
  out->near_m = p->near_m;
  out->far_m = p->far_m;
  out->align_max_res = p->align_max_res;
  out->dsine_image = p->task == EV_NORMALS;
}

static int set_name(const char *key, const char *value, const char *const *names, int n, int *out) {
  int st = OK, i = 0;

  while (i < n && strcmp(names[i], value)) i++;
  NEED(i < n, E_CONFIG, "--set %s: '%s' is none of its values; see 'e2eft eval --help'", key, value);
  *out = i;
out:
  return st;
}

static int set_number(const char *key, const char *value, float *out) {
  int st = OK;
  char *end;
  const double v = strtod(value, &end);

  NEED(end != value && !*end && v >= 0, E_CONFIG, "--set %s: wanted metres of at least 0, found '%s'", key, value);
  *out = (float)v;
out:
  return st;
}

static int set_count(const char *key, const char *value, int64_t *out) {
  int st = OK;
  char *end;
  const long long v = strtoll(value, &end, 10);

  NEED(end != value && !*end && v >= 0 && v <= 1 << 30, E_CONFIG, "--set %s: wanted a number of at least 0, found '%s'",
       key, value);
  *out = v;
out:
  return st;
}

static int set_list(const char *value, ev_settings *s) {
  int st = OK;

  NEED(*value && strlen(value) < sizeof s->list, E_CONFIG, "--set list: wanted a file, found '%.80s'", value);
  strcpy(s->list, value);
out:
  return st;
}

static const char *const crops[] = {"none", "benchmark"}, *const images[] = {"plain", "dsine"},
                         *const frames[] = {"left", "right"};

static int set_choice(const char *key, const char *value, ev_settings *s) {
  int st = OK, i = 0;

  if (!strcmp(key, "mask")) {
    TRY(set_name(key, value, ev_box_names, 4, &i));
    s->box = (ev_box)i;
  } else if (!strcmp(key, "crop")) {
    TRY(set_name(key, value, crops, 2, &i));
    s->benchmark_crop = i;
  } else if (!strcmp(key, "alignment")) {
    TRY(set_name(key, value, ev_alignment_names, EV_ALIGNMENTS, &i));
    s->alignment = (ev_alignment)i;
  } else if (!strcmp(key, "frame")) {
    TRY(set_name(key, value, frames, 2, &i));
    s->x_right = i;
  } else if (!strcmp(key, "image")) {
    TRY(set_name(key, value, images, 2, &i));
    s->dsine_image = i;
  } else {
    FAIL(E_CONFIG, "--set: unknown key '%s'; see 'e2eft eval --help'", key);
  }
out:
  return st;
}

int ev_settings_set(ev_settings *s, const char *key_value) {
  int st = OK;
  int64_t n = s->align_max_res;
  char key[32];
  const char *equals = strchr(key_value, '='), *value = equals + 1;

  NEED(equals && equals - key_value < (int)sizeof key, E_CONFIG, "--set: wanted key=value, found '%s'", key_value);
  snprintf(key, sizeof key, "%.*s", (int)(equals - key_value), key_value);
  if (!strcmp(key, "list")) TRY(set_list(value, s));
  else if (!strcmp(key, "near")) TRY(set_number(key, value, &s->near_m));
  else if (!strcmp(key, "far")) TRY(set_number(key, value, &s->far_m));
  else if (!strcmp(key, "alignment_max_res")) TRY(set_count(key, value, &n));
  else if (!strcmp(key, "limit")) TRY(set_count(key, value, &s->limit));
  else TRY(set_choice(key, value, s));
  s->align_max_res = (int)n;
out:
  return st;
}

ev_align_opts ev_settings_align(const ev_settings *s) {
  return (ev_align_opts){s->alignment, s->align_max_res, s->near_m, s->far_m};
}
