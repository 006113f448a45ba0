#include "eval/report.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

static int64_t measured(const ev_result *r) { return r->n - r->failed; }

int64_t ev_report_failed(const ev_report *r) {
  int64_t failed = 0;

  for (int i = 0; i < r->n; i++) failed += r->results[i].failed;
  return failed;
}

/* ---- table ---- */

static int name_width(const ev_report *r) {
  int width = 8;

  for (int i = 0; i < r->n; i++) {
    const int n = (int)strlen(ev_set_name(r->results[i].set));
    if (n > width) width = n;
  }
  return width > 60 ? 60 : width;
}

static void table_of(const ev_report *r, ev_task task, FILE *f) {
  const char *const *names;
  const int n = ev_metric_names(task, &names), width = name_width(r);
  bool head = false;

  for (int i = 0; i < r->n; i++) {
    const ev_result *e = &r->results[i];
    if (ev_set_task(e->set) != task) continue;
    if (!head) {
      fprintf(f, "%-*s %7s %7s", width, "set", "images", "failed");
      for (int k = 0; k < n; k++) fprintf(f, " %11s", names[k]);
      fputc('\n', f);
      head = true;
    }
    fprintf(f, "%-*.*s %7lld %7lld", width, width, ev_set_name(e->set), (long long)measured(e), (long long)e->failed);
    for (int k = 0; k < n; k++) fprintf(f, " %11.*f", task == EV_DEPTH ? 5 : 3, e->m.values[k]);
    fputc('\n', f);
  }
}

void ev_report_table(const ev_report *r, FILE *f) {
  table_of(r, EV_DEPTH, f);
  table_of(r, EV_NORMALS, f);
}

/* ---- files made in memory ---- */

static int save_stream(const char *path, FILE **f, char **text, size_t *n) {
  int st = OK;
  const int bad = ferror(*f) | fclose(*f);

  *f = NULL;
  NEED(!bad, E_NOMEM, "%s: out of memory", path);
  TRY(io_write_file(path, *text, *n));
out:
  free(*text);
  *text = NULL;
  return st;
}

/* RFC 4180: quoted where it must be. */
static void put_field(FILE *f, const char *text) {
  if (!strpbrk(text, ",\"\n\r")) {
    fputs(text, f);
    return;
  }
  fputc('"', f);
  for (; *text; text++) {
    if (*text == '"') fputc('"', f);
    fputc(*text, f);
  }
  fputc('"', f);
}

static void csv_line(FILE *f, const ev_result *e, int64_t i) {
  const char *const *names;
  const int n = ev_metric_names(ev_set_task(e->set), &names);
  const ev_score *s = &e->scores[i];

  put_field(f, ev_set_name(e->set));
  fputc(',', f);
  put_field(f, ev_set_id(e->set, i));
  if (s->H) fprintf(f, ",%d,%d,%zu", s->H, s->W, s->valid);
  else fputs(",,,", f);
  if (!s->problem && ev_set_task(e->set) == EV_DEPTH) fprintf(f, ",%.9g,%.9g", (double)s->fit.scale, (double)s->fit.shift);
  else fputs(",,", f);
  for (int k = 0; k < n; k++) {
    if (s->problem) fputc(',', f);
    else fprintf(f, ",%.9g", s->m.values[k]);
  }
  fputc(',', f);
  if (s->problem) put_field(f, s->problem);
  fputc('\n', f);
}

int ev_report_csv(const ev_report *r, const char *path) {
  int st = OK;
  char *text = NULL;
  size_t size = 0;
  ev_task task = EV_NORMALS;
  const char *const *names;
  FILE *f = open_memstream(&text, &size);

  NEED(f, E_NOMEM, "%s: out of memory", path);
  for (int i = 0; i < r->n; i++) {
    const ev_result *e = &r->results[i];
    if (i == 0 || ev_set_task(e->set) != task) {
      task = ev_set_task(e->set);
      fputs("set,image,height,width,valid,scale,shift", f);
      for (int k = 0, n = ev_metric_names(task, &names); k < n; k++) fprintf(f, ",%s", names[k]);
      fputs(",problem\n", f);
    }
    for (int64_t j = 0; j < e->n; j++) csv_line(f, e, j);
  }
  TRY(save_stream(path, &f, &text, &size));
out:
  return st;
}

/* ---- JSON ---- */

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *text_or_null(const char *s) { return s ? json_string(s) : json_null(); }

static json_t *failures(const ev_result *e) {
  json_t *all = json_array();

  for (int64_t i = 0; i < e->n; i++) {
    if (!e->scores[i].problem) continue;
    json_t *one = json_object();
    json_object_set_new(one, "image", json_string(ev_set_id(e->set, i)));
    json_object_set_new(one, "problem", json_string(e->scores[i].problem));
    json_array_append_new(all, one);
  }
  return all;
}

static json_t *result_object(const ev_report *r, const ev_result *e) {
  const char *const *names;
  const ev_task task = ev_set_task(e->set);
  const ev_settings *o = ev_set_settings(e->set);
  json_t *j = json_object();

  for (int k = 0, n = ev_metric_names(task, &names); k < n; k++) json_object_set_new(j, names[k], number(e->m.values[k]));
  json_object_set_new(j, "images", json_integer(measured(e)));
  json_object_set_new(j, "failed", json_integer(e->failed));
  json_object_set_new(j, "failures", failures(e));
  json_object_set_new(j, "set", json_string(ev_set_name(e->set)));
  json_object_set_new(j, "task", json_string(ev_task_name(task)));
  if (task == EV_DEPTH) {
    json_object_set_new(j, "alignment", json_string(ev_alignment_names[o->alignment]));
    json_object_set_new(j, "alignment_max_res", o->align_max_res ? json_integer(o->align_max_res) : json_null());
    json_object_set_new(j, "near", number((double)o->near_m));
    json_object_set_new(j, "far", number((double)o->far_m));
    json_object_set_new(j, "mask", json_string(ev_box_names[o->box]));
  }
  json_object_set_new(j, "crop", json_string(o->benchmark_crop ? "benchmark" : "none"));
  json_object_set_new(j, "image", json_string(o->dsine_image ? "dsine" : "plain"));
  json_object_set_new(j, "source", text_or_null(r->source));
  json_object_set_new(j, "how", text_or_null(e->how[0] ? e->how : NULL));
  json_object_set_new(j, "version", text_or_null(r->version));
  json_object_set_new(j, "seconds", number(e->seconds));
  return j;
}

int ev_report_json(const ev_report *r, const char *path) {
  int st = OK;
  json_t *top = NULL;
  char *text = NULL;

  if (r->n == 1) {
    top = result_object(r, &r->results[0]);
  } else {
    json_t *sets = json_array();
    top = json_object();
    for (int i = 0; i < r->n; i++) json_array_append_new(sets, result_object(r, &r->results[i]));
    json_object_set_new(top, "sets", sets);
  }
  text = json_dumps(top, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
  NEED(text, E_NOMEM, "%s: out of memory, or a name that is not UTF-8", path);
  TRY(io_write_file(path, text, strlen(text)));
out:
  free(text);
  json_decref(top);
  return st;
}
