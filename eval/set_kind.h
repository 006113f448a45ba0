/* eval/set_kind.h: the set that eval/set.c hands out and what its two kinds supply. For them alone. */
#ifndef EVAL_SET_KIND_H
#define EVAL_SET_KIND_H
#include "datasets/loader.h"
#include "eval/set.h"
#include "eval/store.h"
#ifdef __cplusplus
extern "C" {
#endif
/* One line of a list, or what is wrong with it. */
typedef struct ev_entry {
  ev_names names;
  char *problem; /* NULL, or the message of reading it */
} ev_entry;

struct ev_set {
  char *name;
  ev_task task;
  const ev_protocol *protocol; /* NULL: source */
  ev_settings settings;
  int64_t total;               /* images in the list */
  int64_t count, *picked;      /* those that are evaluated; picked NULL = all */
  /* a published set */
  ev_store *store;
  ev_entry *entries;
  size_t room;
  /* a data set of the config's kinds */
  ds_source *source;
  ds_loader *loader;
  ds_group *group;                   /* lent by the loader: item group_item */
  int64_t group_item, next_item;     /* next_item: what the loader gives next */
  char (*ids)[DS_ID_MAX];
  /* scratch */
  ds_buf file, rgb, image, truth, mask, pixels, planes;
};

/* Clears mask [H,W] outside the box. */
void ev_mark_box(ev_box box, int H, int W, uint8_t *mask);
/* s->store, name and settings are there: fills entries and total. */
int ev_published_list(ev_set *s);
int ev_published_read(ev_set *s, int64_t i, ev_item *out);
int ev_source_list(ev_set *s);
/* After source and picked are set: forks. */
int ev_source_start(ev_set *s);
void ev_source_stop(ev_set *s);
int ev_source_read(ev_set *s, int64_t i, ev_item *out);
#ifdef __cplusplus
}
#endif
#endif
