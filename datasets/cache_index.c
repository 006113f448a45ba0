#include "datasets/cache_index.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/buffer.h"
#include "datasets/source.h"

static const char magic[] = "e2eft cache 1";
enum { FIELDS_MAX = 16 };
static const int64_t COUNT_MAX = (int64_t)1 << 32;

/* ---- keys ---- */

static void clean(char *text) {
  for (; *text; text++)
    if (*text == '\t' || *text == '\n' || *text == '\r') *text = ' ';
}

void ds_key_add(ds_key *k, const char *name, const char *fmt, ...) {
  va_list ap;

  if (k->n == DS_KEY_MAX) return;
  snprintf(k->at[k->n].name, DS_KEY_NAME, "%s", name);
  va_start(ap, fmt);
  vsnprintf(k->at[k->n].value, DS_KEY_VALUE, fmt, ap);
  va_end(ap);
  clean(k->at[k->n].value);
  k->n++;
}

const char *ds_key_find(const ds_key *k, const char *name) {
  for (int i = 0; i < k->n; i++)
    if (!strcmp(k->at[i].name, name)) return k->at[i].value;
  return NULL;
}

bool ds_key_differs(const ds_key *was, const ds_key *now, char *out, size_t size) {
  for (int i = 0; i < was->n; i++) {
    const char *value = ds_key_find(now, was->at[i].name);
    if (value && !strcmp(value, was->at[i].value)) continue;
    snprintf(out, size, "%s is now %s, was %s", was->at[i].name, value ? value : "unset", was->at[i].value);
    return true;
  }
  return false;
}

/* ---- sizes ---- */

size_t ds_cache_plane_bytes(const ds_cache_form *f, int k) {
  const size_t px = (size_t)f->H * (size_t)f->W, number = sizeof(float);

  if (f->latent.C == 0) return 0;
  if (k == DS_CACHE_STATE) return 1;
  switch (k % DS_CACHE_KINDS) {
  case DS_CACHE_LATENT: return ds_latent_bytes(&f->latent);
  case DS_CACHE_METRIC: return f->need & DS_NEED_METRIC ? px * number : 0;
  case DS_CACHE_DEPTH: return f->need & DS_NEED_DEPTH ? px * number : 0;
  case DS_CACHE_NORMALS: return f->need & DS_NEED_NORMALS ? 3 * px * number : 0;
  default: return (px + 7) / 8;
  }
}

int64_t ds_cache_shards(const ds_cache_form *f) {
  return f->latent.C ? (f->count + f->rows - 1) / f->rows : 0;
}

int ds_cache_shard_rows(const ds_cache_form *f, int64_t shard) {
  const int64_t left = f->count - shard * f->rows;

  return left < f->rows ? (int)left : f->rows;
}

/* ---- parsing ---- */

typedef struct parser {
  const char *path;
  int line;
  ds_cache_index *x;
  char *field[FIELDS_MAX]; /* of the line at hand */
  int n;
  int64_t room_items;
} parser;

static void split(parser *p, char *line) {
  p->n = 0;
  for (char *at = line; at && p->n < FIELDS_MAX; p->n++) {
    p->field[p->n] = at;
    if ((at = strchr(at, '\t'))) *at++ = 0;
  }
}

/* Field i as a number from lo to hi. */
static int number(const parser *p, int i, int64_t lo, int64_t hi, int64_t *out) {
  int st = OK;
  char *end = NULL;
  int64_t v = 0;

  if (i < p->n && p->field[i][0] >= '0' && p->field[i][0] <= '9') v = strtoll(p->field[i], &end, 10);
  NEED(end && !*end && v >= lo && v <= hi, E_DATA, "%s:%d: field %d: wanted a number from %" PRId64 " to %" PRId64
       ", found '%.40s'", p->path, p->line, i + 1, lo, hi, i < p->n ? p->field[i] : "");
  *out = v;
out:
  return st;
}

static int parse_of(parser *p) {
  int st = OK;
  ds_key *k = &p->x->key;

  NEED(p->n == 3 && k->n < DS_KEY_MAX && strlen(p->field[1]) < DS_KEY_NAME && strlen(p->field[2]) < DS_KEY_VALUE &&
           !p->x->form.count && !ds_key_find(k, p->field[1]),
       E_DATA, "%s:%d: not a name and a value of its own", p->path, p->line);
  ds_key_add(k, p->field[1], "%s", p->field[2]);
out:
  return st;
}

static int parse_form(parser *p) {
  int st = OK;
  ds_cache_form *f = &p->x->form;
  int64_t v[9];
  const int64_t most[] = {COUNT_MAX, DS_SIDE_MAX, DS_SIDE_MAX, 15, 64, DS_SIDE_MAX, DS_SIDE_MAX, 4, DS_CACHE_ROWS_MAX};

  NEED(p->n == 10 && !f->count, E_DATA, "%s:%d: not the one form", p->path, p->line);
  for (int i = 0; i < 9; i++) TRY(number(p, i + 1, i == 0 || i == 8, most[i], &v[i]));
  *f = (ds_cache_form){v[0], (int)v[1], (int)v[2], (int)v[3], {(int)v[4], (int)v[5], (int)v[6], (int)v[7]}, (int)v[8]};
  NEED(!f->latent.C || (f->H && f->W && f->latent.h && f->latent.w && (f->latent.size == 2 || f->latent.size == 4)), E_DATA,
       "%s:%d: latents of no size", p->path, p->line);
  NEED((int64_t)f->H * f->W <= DS_PIXELS_MAX && (int64_t)f->latent.h * f->latent.w <= DS_PIXELS_MAX, E_DATA,
       "%s:%d: samples too large", p->path, p->line);
  NEED(p->x->shards = calloc((size_t)ds_cache_shards(f) + 1, sizeof *p->x->shards), E_NOMEM, "%s: shards", p->path);
out:
  return st;
}

static int parse_shard(parser *p) {
  int st = OK;
  ds_cache_index *x = p->x;
  int64_t number_of, v;
  ds_cache_shard s;

  NEED(p->n == 3 + DS_CACHE_PLANES && x->nshards < ds_cache_shards(&x->form), E_DATA, "%s:%d: not a shard of these", p->path,
       p->line);
  TRY(number(p, 1, x->nshards, x->nshards, &number_of));
  TRY(number(p, 2, 1, INT64_MAX / 4, &s.size));
  for (int i = 0; i < DS_CACHE_PLANES; i++) {
    const int64_t bytes =
        ds_cache_shard_rows(&x->form, x->nshards) * (int64_t)ds_cache_plane_bytes(&x->form, i);
    NEED(bytes <= s.size, E_DATA, "%s:%d: %" PRId64 " bytes do not hold a plane of %" PRId64, p->path, p->line, s.size, bytes);
    TRY(number(p, 3 + i, 0, s.size - bytes, &v));
    s.offset[i] = v;
  }
  x->shards[x->nshards++] = s;
out:
  return st;
}

static int parse_hash(const parser *p, int i, ds_hash *out) {
  int st = OK;

  *out = (ds_hash){0, 0};
  if (!strcmp(p->field[i], "-")) goto out;
  NEED(strlen(p->field[i]) == DS_HASH_TEXT - 1 && ds_hash_parse(p->field[i], out), E_DATA, "%s:%d: field %d: not a hash: '%.40s'",
       p->path, p->line, i + 1, p->field[i]);
out:
  return st;
}

static int add_item(parser *p, const ds_cache_item *it) {
  int st = OK;
  ds_cache_index *x = p->x;

  if (x->n == p->room_items) {
    const int64_t room = 2 * p->room_items + 1024;
    void *grown = realloc(x->items, (size_t)room * sizeof *x->items);
    NEED(grown, E_NOMEM, "%s: %" PRId64 " items", p->path, room);
    x->items = grown;
    p->room_items = room;
  }
  x->items[x->n++] = *it;
out:
  return st;
}

static int parse_item(parser *p, ds_item_state state) {
  int st = OK;
  ds_cache_index *x = p->x;
  ds_cache_item it = {.state = state};
  int64_t number_of;
  const bool kept = state == DS_KEPT, stored = x->form.latent.C > 0;

  NEED(p->n == (kept ? 7 : 8) && x->n < x->form.count, E_DATA, "%s:%d: not an item of these", p->path, p->line);
  TRY(number(p, 1, x->n, x->n, &number_of));
  TRY(parse_hash(p, 2, &it.frame));
  for (int i = 0; i < 2; i++) TRY(parse_hash(p, 3 + i, &it.row[i]));
  it.own_mirror = kept && stored && !strcmp(p->field[5], "own");
  NEED(it.own_mirror || !strcmp(p->field[5], kept && stored ? "same" : "-"), E_DATA, "%s:%d: field 6: '%.40s'", p->path, p->line,
       p->field[5]);
  NEED(!kept || !stored || x->n / x->form.rows < x->nshards, E_DATA, "%s:%d: item before its shard", p->path, p->line);
  it.id = p->field[6];
  it.reason = kept ? "" : p->field[7];
  TRY(add_item(p, &it));
out:
  return st;
}

/* The last line: right behind the last item, over all that stands before it. */
static int parse_end(parser *p, ds_hash all) {
  int st = OK;
  ds_hash said;

  NEED(p->n == 2, E_DATA, "%s:%d: not an end", p->path, p->line);
  TRY(parse_hash(p, 1, &said));
  NEED(ds_hash_same(said, all), E_DATA, "%s: damaged: its hash is not the one at its end", p->path);
  NEED(p->x->form.count > 0 && p->x->n == p->x->form.count, E_DATA, "%s: %" PRId64 " of %" PRId64 " items", p->path, p->x->n,
       p->x->form.count);
  p->x->complete = true;
out:
  return st;
}

static int parse_line(parser *p, ds_hash all) {
  static const char *const states[] = {[DS_KEPT] = "kept", [DS_FILTERED] = "filtered", [DS_BROKEN] = "broken"};
  int st = OK;
  const char *word = p->field[0];

  NEED(!p->x->complete, E_DATA, "%s:%d: something after the end", p->path, p->line);
  if (!strcmp(word, "of")) return parse_of(p);
  if (!strcmp(word, "form")) return parse_form(p);
  if (!strcmp(word, "end")) return parse_end(p, all);
  if (!strcmp(word, "shard")) return parse_shard(p);
  for (int i = 0; i < 3; i++)
    if (!strcmp(word, states[i])) return parse_item(p, (ds_item_state)i);
  FAIL(E_DATA, "%s:%d: '%.40s' begins no line of a manifest", p->path, p->line, word);
out:
  return st;
}

/* Of all that stands before the last whole line. */
static ds_hash hash_before_end(const char *text, size_t n) {
  while (n > 0 && text[n - 1] != '\n') n--;
  if (n > 0) n--;
  while (n > 0 && text[n - 1] != '\n') n--;
  return ds_hash_of(text, n);
}

int ds_cache_index_parse(const char *path, char *text, size_t n, ds_cache_index *out) {
  int st = OK;
  ds_cache_index x = {.text = text};
  parser p = {.path = path, .x = &x};
  const ds_hash all = hash_before_end(text, n);
  char *at = text, *end;

  NEED(strlen(text) == n, E_DATA, "%s: not text", path);
  while ((end = strchr(at, '\n'))) {
    *end = 0;
    p.line++;
    if (p.line == 1) {
      NEED(!strcmp(at, magic), E_DATA, "%s: not a manifest of this version ('%s')", path, magic);
    } else {
      split(&p, at);
      TRY(parse_line(&p, all));
    }
    at = end + 1;
    x.whole = (size_t)(at - text);
  }
  *out = x;
  x = (ds_cache_index){0};
out:
  ds_cache_index_free(&x);
  return st;
}

void ds_cache_index_free(ds_cache_index *x) {
  free(x->shards);
  free(x->items);
  free(x->text);
  *x = (ds_cache_index){0};
}

/* ---- formatting ---- */

enum { LINE_MAX = 2048 };

static int own_line(const char *line, int n, char **out) {
  int st = OK;

  NEED(n > 0 && n < LINE_MAX, E_FAIL, "manifest: a line of %d bytes", n);
  NEED(*out = strdup(line), E_NOMEM, "manifest: a line");
out:
  return st;
}

int ds_cache_head_text(const ds_key *k, const ds_cache_form *f, char **out) {
  int st = OK;
  const size_t room = 512 + (size_t)k->n * (DS_KEY_NAME + DS_KEY_VALUE + 8);
  char *text = malloc(room);
  size_t n;

  NEED(text, E_NOMEM, "manifest: %zu bytes", room);
  n = (size_t)snprintf(text, room, "%s\n", magic);
  for (int i = 0; i < k->n; i++) n += (size_t)snprintf(text + n, room - n, "of\t%s\t%s\n", k->at[i].name, k->at[i].value);
  snprintf(text + n, room - n, "form\t%" PRId64 "\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", f->count, f->H, f->W, f->need, f->latent.C,
           f->latent.h, f->latent.w, f->latent.size, f->rows);
  *out = text;
out:
  return st;
}

int ds_cache_shard_text(int64_t shard, const ds_cache_shard *s, char **out) {
  char line[LINE_MAX];
  int n = snprintf(line, sizeof line, "shard\t%" PRId64 "\t%" PRId64, shard, s->size);

  for (int i = 0; i < DS_CACHE_PLANES; i++) n += snprintf(line + n, sizeof line - (size_t)n, "\t%" PRId64, s->offset[i]);
  n += snprintf(line + n, sizeof line - (size_t)n, "\n");
  return own_line(line, n, out);
}

static const char *hash_field(ds_hash h, char out[DS_HASH_TEXT]) {
  if (!h.high && !h.low) return "-";
  ds_hash_text(h, out);
  return out;
}

int ds_cache_item_text(int64_t item, const ds_cache_item *it, char **out) {
  static const char *const states[] = {[DS_KEPT] = "kept", [DS_FILTERED] = "filtered", [DS_BROKEN] = "broken"};
  char line[LINE_MAX], hash[3][DS_HASH_TEXT], id[DS_ID_MAX], reason[1024];
  const bool kept = it->state == DS_KEPT, stored = it->row[0].high || it->row[0].low;
  int n;

  snprintf(id, sizeof id, "%s", it->id);
  snprintf(reason, sizeof reason, "%s", kept ? "" : it->reason);
  clean(id);
  clean(reason);
  n = snprintf(line, sizeof line, "%s\t%" PRId64 "\t%s\t%s\t%s\t%s\t%s%s%s\n", states[it->state], item,
               hash_field(it->frame, hash[0]), hash_field(it->row[0], hash[1]), hash_field(it->row[1], hash[2]),
               !kept || !stored ? "-" : it->own_mirror ? "own" : "same", id, kept ? "" : "\t", reason);
  return own_line(line, n, out);
}
