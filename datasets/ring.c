#include "datasets/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGN = 64, PAGE = 4096 };
#define LOAD(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* A cursor over the mapping; with base NULL it only adds up. */
typedef struct carver {
  unsigned char *base;
  size_t at;
} carver;

static void *carve(carver *c, size_t bytes, size_t align) {
  const size_t at = round_up(c->at, align);

  c->at = at + bytes;
  return c->base ? c->base + at : NULL;
}

static size_t carve_all(ds_ring *r, unsigned char *base, int picks, int samples) {
  carver c = {base, 0};

  r->workers = carve(&c, (size_t)(r->nworkers ? r->nworkers : 1) * sizeof *r->workers, ALIGN);
  for (int i = 0; i < r->nslots; i++) {
    ds_slot *s = carve(&c, sizeof *s, ALIGN);
    ds_slot part = {.picks = carve(&c, (size_t)picks * sizeof *part.picks, ALIGN),
                    .group = {.id = carve(&c, (size_t)samples * sizeof *part.group.id, ALIGN),
                              .valid = carve(&c, (size_t)samples * sizeof *part.group.valid, ALIGN),
                              .domain = carve(&c, (size_t)samples * sizeof *part.group.domain, ALIGN)},
                    .timesteps = carve(&c, (size_t)samples * sizeof *part.timesteps, ALIGN),
                    .samples = carve(&c, (size_t)samples * sizeof *part.samples, ALIGN),
                    .planes = carve(&c, r->slot_planes, PAGE)};
    if (base) *(r->slots[i] = s) = part;
  }
  return round_up(c.at, PAGE);
}

int ds_ring_create(int nslots, int nworkers, int picks, int samples, size_t planes, ds_ring *out) {
  int st = OK;
  ds_ring r = {.nslots = nslots, .nworkers = nworkers, .slot_planes = planes, .work = -1, .news = -1};

  assert(nslots >= 1 && nworkers <= DS_RING_WORKERS_MAX && picks >= 1 && samples >= 1);
  NEED(planes <= SIZE_MAX / 4 / (size_t)nslots, E_NOMEM, "%d groups of %zu bytes", nslots, planes);
  NEED(r.slots = calloc((size_t)nslots, sizeof(ds_slot *)), E_NOMEM, "%d groups", nslots);
  r.map_size = carve_all(&r, NULL, picks, samples);
  void *map =
      mmap(NULL, r.map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  NEED(map != MAP_FAILED, E_NOMEM, "%zu bytes of address space for %d decoded groups: %s", r.map_size, nslots,
       strerror(errno));
  r.map = map;
  madvise(r.map, r.map_size, MADV_DONTDUMP); /* only a wish */
  carve_all(&r, r.map, picks, samples);
  r.work = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
  r.news = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  NEED(r.work >= 0 && r.news >= 0, E_FAIL, "eventfd: %s", strerror(errno));
  *out = r;
out:
  if (st) ds_ring_destroy(&r);
  return st;
}

void ds_ring_destroy(ds_ring *r) {
  if (r->work >= 0) close(r->work);
  if (r->news >= 0) close(r->news);
  if (r->map) munmap(r->map, r->map_size);
  free(r->slots);
  *r = (ds_ring){.work = -1, .news = -1};
}

static void place(carver *c, ds_group *g, const ds_planes *p) {
  const size_t px = (size_t)p->B * (size_t)p->H * (size_t)p->W, f = sizeof(float);
  const size_t cells = (size_t)p->B * (size_t)(p->H / 8) * (size_t)(p->W / 8);

  g->B = p->B;
  g->H = p->H;
  g->W = p->W;
  g->latent_form = p->latent ? *p->latent : (ds_latent_form){0};
  g->latent = p->latent ? carve(c, (size_t)p->B * ds_latent_bytes(p->latent), ALIGN) : NULL;
  g->rgb = p->latent ? NULL : carve(c, 3 * px * f, ALIGN);
  g->metric = p->need & DS_NEED_METRIC ? carve(c, px * f, ALIGN) : NULL;
  g->depth = p->need & DS_NEED_DEPTH ? carve(c, px * f, ALIGN) : NULL;
  g->normals = p->need & DS_NEED_NORMALS ? carve(c, 3 * px * f, ALIGN) : NULL;
  g->mask = carve(c, px, ALIGN);
  g->noise = p->stored ? carve(c, 4 * cells * f, ALIGN) : NULL;
}

size_t ds_ring_plane_bytes(const ds_planes *p) {
  carver c = {NULL, 0};
  ds_group g;

  place(&c, &g, p);
  return c.at;
}

bool ds_ring_place(const ds_ring *r, ds_slot *s, const ds_planes *p) {
  carver c = {s->planes, 0};

  if (ds_ring_plane_bytes(p) > r->slot_planes) return false;
  place(&c, &s->group, p);
  s->group.timesteps = p->stored ? s->timesteps : NULL;
  return true;
}

static void tell(int fd) {
  const uint64_t one = 1;

  while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

ds_slot_state ds_ring_state(const ds_slot *s) { return (ds_slot_state)(LOAD(&s->word) & 0xff); }

void ds_ring_post(ds_ring *r, ds_slot *s, int64_t order) {
  s->status = OK;
  s->at = -1;
  s->path[0] = 0;
  __atomic_store_n(&s->reading, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&s->order, order, __ATOMIC_RELAXED);
  STORE(&s->word, DS_SLOT_POSTED);
  if (r->nworkers) tell(r->work);
}

bool ds_ring_retract(ds_slot *s) {
  uint32_t was = DS_SLOT_POSTED;

  return __atomic_compare_exchange_n(&s->word, &was, DS_SLOT_FREE, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void ds_ring_hear(ds_ring *r) {
  uint64_t told;

  while (read(r->news, &told, sizeof told) < 0 && errno == EINTR) {
  }
}

void ds_ring_sleep(ds_ring *r) {
  uint64_t token;

  while (read(r->work, &token, sizeof token) < 0 && errno == EINTR) {
  }
}

ds_slot *ds_ring_claim(ds_ring *r, int w) {
  for (;;) {
    ds_slot *oldest = NULL;
    for (int i = 0; i < r->nslots; i++) {
      ds_slot *s = r->slots[i];
      if (ds_ring_state(s) != DS_SLOT_POSTED) continue;
      if (!oldest || LOAD(&s->order) < LOAD(&oldest->order)) oldest = s;
    }
    if (!oldest) return NULL;
    uint32_t was = DS_SLOT_POSTED;
    if (__atomic_compare_exchange_n(&oldest->word, &was, DS_SLOT_RUNNING | (uint32_t)w << 8, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
      return oldest; /* whatever is posted there by now */
  }
}

void ds_ring_beat(ds_slot *s, int pick) {
  STORE(&s->reading, pick);
  __atomic_add_fetch(&s->beat, 1, __ATOMIC_RELEASE);
}

void ds_ring_finish(ds_ring *r, ds_slot *s) {
  STORE(&s->word, DS_SLOT_DONE);
  tell(r->news);
}

bool ds_ring_bury(ds_ring *r, int w, int wait_status) {
  bool had_job = false;

  for (int i = 0; i < r->nslots; i++) {
    ds_slot *s = r->slots[i];
    if (LOAD(&s->word) != (DS_SLOT_RUNNING | (uint32_t)w << 8)) continue;
    s->wait_status = wait_status;
    STORE(&s->word, DS_SLOT_DIED);
    had_job = true;
  }
  tell(r->work); /* it may have died with a token in hand */
  tell(r->news);
  return had_job;
}
