#include "datasets/loader.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "datasets/bad_files.h"
#include "datasets/mixer.h"
#include "datasets/reserve.h"
#include "datasets/ring.h"
#include "datasets/supervisor.h"
#include "datasets/worker.h"

/* A filter may leave out most of a data set; so many damaged files in a row are no accident. */
enum { REPLACEMENTS = 8, REPLACEMENTS_FILTERED = 63, RESTARTS = 5, END_S = 10, AHEAD_MAX = 1 << 16 };
/* Deaths in one file after which the file is to blame. A signal from outside says little about it, unless it
 * is the kernel's that ran out of memory there. */
enum { CRASHES = 2, KILLS = 5 };
/* Native sizes are known only once a file is open: pixels of a sample for which address space is reserved. */
static const int64_t NATIVE_PIXELS = (int64_t)1 << 24;

typedef enum { JOB_NONE, JOB_OUT, JOB_READY, JOB_FAILED, JOB_PASSED_OVER, JOB_LENT } job_state;

/* The trainer's side of a slot. */
typedef struct job {
  job_state state;
  bool dropped;                /* by a seek, while a worker was on it */
  int64_t seq;                 /* jobs are handed out in this order */
  int first;                   /* its first pick in the mixer's group */
  int *attempts;               /* [picks] replacements so far */
  int died_at, crashes, kills; /* of its workers, in that pick */
  bool hung;
  uint32_t beat;
  double silent_s;
} job;

struct ds_loader {
  ds_loader_opts o;
  int n;
  ds_data *data; /* [n] */
  ds_mixer *mixer;
  ds_ring ring;
  ds_supervisor supervisor;
  job *jobs;      /* [ring.nslots] */
  int *attempts;  /* [ring.nslots][group], the jobs' */
  ds_pick *picks; /* [group] scratch */
  int64_t step;   /* the next job to plan: */
  int g, first;
  int64_t planned, next; /* its seq; the seq that ds_loader_next hands out next */
  ds_bad_files bad;
  int64_t passed_over; /* groups in a row */
  double waited_s;
  int restarts; /* of the supervisor, since a job was done */
};

static double now_s(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- bad files ---- */

static void job_fail(ds_loader *l, int i, int code, const char *text) {
  ds_slot *s = l->ring.slots[i];

  l->jobs[i].state = JOB_FAILED;
  s->status = code;
  if (text != s->text) snprintf(s->text, sizeof s->text, "%s", text);
}

static int replacements_max(const ds_loader *l, int d) {
  return ds_source_opts(l->data[d].source)->filter == DS_FILTER_NONE ? REPLACEMENTS : REPLACEMENTS_FILTERED;
}

/* Puts another item for pick `at` of job i, one not known to be bad or left out. The job fails when there is none. */
static int pick_replace(ds_loader *l, int i, int at) {
  int st = OK;
  job *j = &l->jobs[i];
  ds_slot *s = l->ring.slots[i];
  const ds_group *g = &s->group;
  const int most = replacements_max(l, g->dataset);
  char text[DS_RING_TEXT];

  j->crashes = j->kills = 0;
  do {
    if (++j->attempts[at] > most) {
      snprintf(text, sizeof text, "data.%d: %d replacements in a row were bad%s too%s%.900s", g->dataset, most,
               most > REPLACEMENTS ? " or left out" : "", s->text[0] ? ", the last: " : "", s->text);
      job_fail(l, i, E_DATA, text);
      return OK;
    }
    st = ds_mixer_replace(l->mixer, g->step, g->g, j->first + at, j->attempts[at], g->dataset, &s->picks[at]);
    if (st == E_DATA) {
      job_fail(l, i, st, err_text());
      return OK;
    }
    TRY(st);
  } while (ds_bad_files_find(&l->bad, g->dataset, s->picks[at].item));
out:
  return st;
}

/* A filter leaves out pick `at`: another takes its place. Dumps in list order pass it over instead. */
static int pick_leave_out(ds_loader *l, int i, int at) {
  const int d = l->ring.slots[i]->group.dataset;

  if (!l->o.singly || ds_source_opts(l->data[d].source)->shuffle) return pick_replace(l, i, at);
  l->jobs[i].state = JOB_PASSED_OVER;
  return OK;
}

static void job_post(ds_loader *l, int i) {
  job *j = &l->jobs[i];

  j->state = JOB_OUT;
  j->hung = false;
  j->silent_s = 0;
  ds_ring_post(&l->ring, l->ring.slots[i], j->seq);
}

/* The item has no samples, for the reason in the slot's text. */
static void todo_bad(ds_loader *l, int i) {
  ds_slot *s = l->ring.slots[i];

  l->jobs[i].state = JOB_READY;
  s->group.B = 0;
  s->group.bad = s->text;
  s->group.left_out = s->left_out;
}

/* The file of pick `at` is bad for the reason in the slot's text. */
static int file_bad(ds_loader *l, int i, int at) {
  int st = OK;
  ds_slot *s = l->ring.slots[i];
  const int d = s->group.dataset;
  const ds_source *src = l->data[d].source;

  if (l->o.todo) {
    todo_bad(l, i);
    return OK;
  }
  if (s->files || ds_source_is_stored(src) || !ds_source_opts(src)->skip_bad_files) {
    job_fail(l, i, E_DATA, s->text);
    return OK;
  }
  TRY(ds_bad_files_report(&l->bad, d, s->picks[at].item, s->text));
  TRY(pick_replace(l, i, at));
  if (l->jobs[i].state == JOB_OUT) job_post(l, i);
out:
  return st;
}

static int file_left_out(ds_loader *l, int i, int at) {
  int st = OK;
  ds_slot *s = l->ring.slots[i];

  TRY(ds_bad_files_leave_out(&l->bad, s->group.dataset, s->picks[at].item));
  TRY(pick_leave_out(l, i, at));
  if (l->jobs[i].state == JOB_OUT) job_post(l, i);
out:
  return st;
}

/* ---- jobs that come back ---- */

static bool is_crash(int wait_status) {
  return !WIFSIGNALED(wait_status) || (WTERMSIG(wait_status) != SIGKILL && WTERMSIG(wait_status) != SIGTERM);
}

static void death_text(int wait_status, char *out, size_t size) {
  if (WIFSIGNALED(wait_status))
    snprintf(out, size, "signal %d, %s", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
  else snprintf(out, size, "exit code %d", WEXITSTATUS(wait_status));
}

static int job_died(ds_loader *l, int i) {
  int st = OK;
  job *j = &l->jobs[i];
  ds_slot *s = l->ring.slots[i];
  const int at = __atomic_load_n(&s->reading, __ATOMIC_RELAXED);
  char id[DS_ID_MAX] = "", how[128];

  s->path[sizeof s->path - 1] = 0; /* the worker may have died in the middle of writing it */
  TRY(ds_source_describe(l->data[s->group.dataset].source, s->picks[at].item, id));
  const char *file = s->path[0] ? s->path : id;
  death_text(s->wait_status, how, sizeof how);
  if (at != j->died_at) j->crashes = j->kills = 0;
  j->died_at = at;
  *(is_crash(s->wait_status) ? &j->crashes : &j->kills) += 1;
  if (j->hung)
    snprintf(s->text, sizeof s->text, "%.900s: its decoder was silent for %g s", file, l->o.timeout_s);
  else if (j->crashes >= CRASHES || j->kills >= KILLS)
    snprintf(s->text, sizeof s->text, "%.850s: its decoder ended %d times (%s)", file, j->crashes + j->kills,
             how);
  else {
    log_warn("%s: its decoder ended (%s); started again, the file is tried again", file, how);
    job_post(l, i);
    return OK;
  }
  TRY(file_bad(l, i, at));
out:
  return st;
}

/* Looks at every job that is out. */
static int jobs_collect(ds_loader *l) {
  int st = OK;

  for (int i = 0; i < l->ring.nslots; i++) {
    job *j = &l->jobs[i];
    ds_slot *s = l->ring.slots[i];
    if (j->state != JOB_OUT) continue;
    const ds_slot_state state = ds_ring_state(s);
    if (state != DS_SLOT_DONE && state != DS_SLOT_DIED) continue;
    if (j->dropped) j->state = JOB_NONE;
    else if (state == DS_SLOT_DIED) TRY(job_died(l, i));
    else if (s->status == OK) j->state = JOB_READY;
    else if (s->left_out && l->o.todo) todo_bad(l, i);
    else if (s->left_out) TRY(file_left_out(l, i, s->at));
    else if (s->at >= 0) TRY(file_bad(l, i, s->at));
    else job_fail(l, i, s->status, s->text);
    if (state == DS_SLOT_DONE) l->restarts = 0;
  }
out:
  return st;
}

/* ---- jobs that go out ---- */

/* The next job of `todo`. */
static void job_plan_todo(ds_loader *l, int i) {
  job *j = &l->jobs[i];
  ds_slot *s = l->ring.slots[i];
  const ds_todo *next = &l->o.todo[l->planned];

  *j = (job){.state = JOB_OUT, .seq = l->planned++, .attempts = j->attempts};
  s->npicks = 1;
  s->both = true;
  s->picks[0] = (ds_pick){next->item, false};
  s->group.dataset = next->dataset;
  s->group.item = next->item;
  s->group.bad = NULL;
  s->text[0] = 0;
  j->attempts[0] = 0;
  job_post(l, i);
}

/* Writes the next job into slot i and moves on by one. */
static int job_plan(ds_loader *l, int i) {
  int st = OK, d;
  job *j = &l->jobs[i];
  ds_slot *s = l->ring.slots[i];

  TRY(ds_mixer_group(l->mixer, l->step, l->g, &d, l->picks));
  const int picks = ds_mixer_picks(l->mixer, d);
  *j = (job){.state = JOB_OUT, .seq = l->planned, .first = l->first, .attempts = j->attempts};
  s->npicks = l->o.singly ? 1 : picks;
  s->group.step = l->step;
  s->group.g = l->g;
  s->group.dataset = d;
  s->text[0] = 0;
  memcpy(s->picks, l->picks + l->first, (size_t)s->npicks * sizeof *s->picks);
  memset(j->attempts, 0, (size_t)s->npicks * sizeof *j->attempts);
  for (int at = 0; at < s->npicks && j->state == JOB_OUT; at++) {
    const ds_bad_item *known = ds_bad_files_find(&l->bad, d, s->picks[at].item);
    if (known) TRY(known->left_out ? pick_leave_out(l, i, at) : pick_replace(l, i, at));
  }
  if (j->state == JOB_OUT) job_post(l, i);
  l->planned++;
  l->first += s->npicks;
  if (l->first < picks) return OK;
  l->first = 0;
  l->g = (l->g + 1) % l->o.groups_per_step;
  l->step += l->g == 0;
out:
  if (st) j->state = JOB_NONE;
  return st;
}

/* Takes what came back, sends out as many jobs as there is room for. */
static int jobs_advance(ds_loader *l) {
  int st = OK;

  TRY(jobs_collect(l));
  for (int i = 0; i < l->ring.nslots; i++) {
    if (l->jobs[i].state != JOB_NONE) continue;
    if (!l->o.todo) TRY(job_plan(l, i));
    else if (l->planned < l->o.ntodo) job_plan_todo(l, i);
  }
out:
  return st;
}

/* ---- waiting ---- */

static int supervisor_again(ds_loader *l) {
  int st = OK;
  const int pid = l->supervisor.pid;

  NEED(l->restarts++ < RESTARTS, E_FAIL, "the decoder processes end as soon as they are started");
  ds_supervisor_stop(&l->supervisor);
  for (int w = 0; w < l->ring.nworkers; w++) ds_ring_bury(&l->ring, w, SIGKILL);
  log_warn("the decoders' supervisor (process %d) ended; started again", pid);
  /* Late, after torch may have started threads: the children use neither torch nor OpenMP. */
  TRY(ds_supervisor_start(&l->ring, l->data, &l->supervisor));
out:
  return st;
}

/* Ends workers that got nowhere in the last timeout_s. Only time spent waiting here counts: a stopped trainer
 * that goes on finds workers that were stopped with it. */
static int jobs_watch(ds_loader *l, double elapsed_s) {
  int st = OK;

  for (int i = 0; i < l->ring.nslots; i++) {
    job *j = &l->jobs[i];
    ds_slot *s = l->ring.slots[i];
    const uint32_t word = __atomic_load_n(&s->word, __ATOMIC_ACQUIRE);
    const uint32_t beat = __atomic_load_n(&s->beat, __ATOMIC_ACQUIRE);
    if (j->state != JOB_OUT || (word & 0xff) != DS_SLOT_RUNNING) continue;
    j->silent_s = beat == j->beat ? j->silent_s + elapsed_s : 0;
    j->beat = beat;
    NEED(j->silent_s < 2 * l->o.timeout_s + END_S, E_FAIL, "%s: its decoder is silent and cannot be ended",
         s->path);
    if (j->silent_s < l->o.timeout_s || j->hung) continue;
    const int w = (int)(word >> 8);
    j->hung = true;
    ds_supervisor_kill(&l->supervisor, w, __atomic_load_n(&l->ring.workers[w].life, __ATOMIC_ACQUIRE));
  }
out:
  return st;
}

static int decode_here(ds_loader *l) {
  ds_slot *s = ds_ring_claim(&l->ring, 0);

  assert(s);
  ds_worker_decode(l->data, &l->ring, s);
  ds_ring_finish(&l->ring, s);
  return OK;
}

static int jobs_wait(ds_loader *l) {
  int st = OK;
  const double tick = l->o.timeout_s < 4 ? l->o.timeout_s / 4 : 1, start = now_s();
  struct pollfd on[2] = {{.fd = l->ring.news, .events = POLLIN}, {.fd = l->supervisor.ctl, .events = POLLIN}};

  if (l->o.workers == 0) return decode_here(l);
  if (poll(on, 2, (int)(1000 * tick) + 1) < 0) on[0].revents = on[1].revents = 0; /* a signal */
  const double elapsed = now_s() - start;
  if (on[0].revents) ds_ring_hear(&l->ring);
  if (on[1].revents) TRY(supervisor_again(l));
  TRY(jobs_watch(l, elapsed < 2 * tick ? elapsed : tick));
out:
  return st;
}

static int job_find(const ds_loader *l, int64_t seq) {
  for (int i = 0; i < l->ring.nslots; i++)
    if (l->jobs[i].state != JOB_NONE && !l->jobs[i].dropped && l->jobs[i].seq == seq) return i;
  return -1;
}

static bool any_dropped(const ds_loader *l) {
  for (int i = 0; i < l->ring.nslots; i++)
    if (l->jobs[i].state == JOB_OUT && l->jobs[i].dropped) return true;
  return false;
}

/* Job `next`, no longer out. */
static int next_wait(ds_loader *l, int *slot) {
  int st = OK, i;

  for (;;) {
    TRY(jobs_advance(l));
    i = job_find(l, l->next);
    NEED(i >= 0 || any_dropped(l), E_FAIL, "ring of %d groups is all lent", l->ring.nslots);
    if (i >= 0 && l->jobs[i].state != JOB_OUT) break;
    TRY(jobs_wait(l));
  }
  *slot = i;
out:
  return st;
}

int ds_loader_next(ds_loader *l, ds_group **out) {
  int st = OK, i = 0;
  const double start = now_s();

  if (l->o.todo && l->next == l->o.ntodo) {
    *out = NULL;
    goto out;
  }
  for (;;) {
    TRY(next_wait(l, &i));
    if (l->jobs[i].state != JOB_PASSED_OVER) break;
    const int d = l->ring.slots[i]->group.dataset;
    NEED(++l->passed_over < ds_source_count(l->data[d].source), E_DATA, "data.%d: its filter leaves out all samples", d);
    l->jobs[i].state = JOB_NONE;
    l->next++;
  }
  l->passed_over = 0;
  NEED(l->jobs[i].state == JOB_READY, l->ring.slots[i]->status, "%s", l->ring.slots[i]->text);
  l->jobs[i].state = JOB_LENT;
  l->next++;
  *out = &l->ring.slots[i]->group;
out:
  l->waited_s += now_s() - start;
  return st;
}

void ds_loader_release(ds_loader *l, ds_group *g) {
  for (int i = 0; i < l->ring.nslots; i++) {
    if (&l->ring.slots[i]->group != g) continue;
    assert(l->jobs[i].state == JOB_LENT);
    l->jobs[i].state = JOB_NONE;
  }
  (void)jobs_advance(l); /* keeps the workers busy; what fails here fails again in ds_loader_next */
}

int ds_loader_decode(ds_loader *l, ds_group *g) {
  int st = OK, i = 0;

  if (!g->latent) return OK;
  while (&l->ring.slots[i]->group != g) i++;
  job *j = &l->jobs[i];
  ds_slot *s = l->ring.slots[i];
  assert(j->state == JOB_LENT);
  s->files = true;
  s->text[0] = 0;
  job_post(l, i);
  while (j->state == JOB_OUT) {
    TRY(jobs_wait(l));
    TRY(jobs_collect(l));
  }
  NEED(j->state == JOB_READY, s->status, "%s", s->text);
out:
  s->files = false;
  j->state = JOB_LENT;
  return st;
}

int ds_loader_seek(ds_loader *l, int64_t step) {
  int st = OK;

  NEED(step >= 1, E_FAIL, "step %lld: steps start at 1", (long long)step);
  for (int i = 0; i < l->ring.nslots; i++) {
    job *j = &l->jobs[i];
    if (j->state == JOB_NONE || j->state == JOB_LENT) continue;
    if (j->state == JOB_OUT && !ds_ring_retract(l->ring.slots[i])) {
      j->dropped = true;
      continue;
    }
    j->state = JOB_NONE;
  }
  l->step = step;
  l->g = l->first = 0;
  l->next = l->planned;
  TRY(jobs_advance(l));
out:
  return st;
}

/* ---- opening ---- */

static int opts_check(const ds_loader_opts *o) {
  int st = OK;

  NEED(o->todo || (o->group >= 1 && o->groups_per_step >= 1), E_CONFIG, "optim: groups of %d, %d a step", o->group,
       o->groups_per_step);
  NEED(o->workers >= 0 && o->workers <= DS_RING_WORKERS_MAX, E_CONFIG, "loader.workers: %d is not in 0 to %d",
       o->workers, DS_RING_WORKERS_MAX);
  NEED(o->ahead >= 0 && o->ahead <= AHEAD_MAX, E_CONFIG, "loader: %d groups ahead is not in 0 to %d",
       o->ahead, AHEAD_MAX);
  NEED(o->timeout_s >= 0, E_CONFIG, "loader.timeout: %g is negative", o->timeout_s);
out:
  return st;
}

static int mixer_open(ds_loader *l) {
  int st = OK;
  ds_mix_entry *e = calloc((size_t)l->n, sizeof *e);

  NEED(e, E_NOMEM, "%d data sets", l->n);
  for (int i = 0; i < l->n; i++) {
    const ds_source *s = l->data[i].source;
    const ds_opts *o = ds_source_opts(s);
    const bool stored = ds_source_is_stored(s);
    e[i] = (ds_mix_entry){l->data[i].weight, ds_source_count(s), ds_source_samples_per_item(s),
                          o->shuffle && !stored, stored ? 0 : o->flip};
    NEED(e[i].count > 0, E_DATA, "data.%d (%s, %s): no samples", i, o->kind, o->root);
    NEED(!stored || e[i].samples_per_item == l->o.group, E_DATA,
         "data.%d (%s, %s): files of %d samples, optim.group is %d", i, o->kind, o->root,
         e[i].samples_per_item, l->o.group);
  }
  TRY(ds_mixer_create(l->o.seed, e, l->n, l->o.group, l->o.groups_per_step, &l->mixer));
out:
  free(e);
  return st;
}

/* The largest ring that the machine has address space for. */
static int ring_open(ds_loader *l) {
  int st = OK;
  const int per_step = l->o.singly ? l->o.group * l->o.groups_per_step : l->o.groups_per_step;
  int slots = l->o.ahead;

  if (!slots && l->o.workers == 0) slots = per_step + 1;
  if (!slots) slots = 2 * per_step > 2 * l->o.workers ? 2 * per_step : 2 * l->o.workers;
  for (int64_t reserve = NATIVE_PIXELS;; reserve /= 2) {
    const size_t planes = ds_reserve_planes(&l->o, l->data, l->n, reserve);
    st = ds_ring_create(slots, l->o.workers, l->o.group, l->o.group, planes, &l->ring);
    if (st != E_NOMEM || reserve < 1024) break;
  }
  TRY(st);
  NEED((l->jobs = calloc((size_t)slots, sizeof *l->jobs)) &&
           (l->attempts = calloc((size_t)slots * (size_t)l->o.group, sizeof *l->attempts)) &&
           (l->picks = calloc((size_t)l->o.group, sizeof *l->picks)),
       E_NOMEM, "%d jobs", slots);
  for (int i = 0; i < slots; i++) l->jobs[i].attempts = l->attempts + (size_t)i * (size_t)l->o.group;
out:
  return st;
}

int ds_loader_open(const ds_loader_opts *o, const ds_data *data, int n, ds_loader **out) {
  int st = OK;
  ds_loader *l = NULL;

  TRY(opts_check(o));
  NEED(n >= 1, E_CONFIG, "data: no entries");
  NEED(l = calloc(1, sizeof *l), E_NOMEM, "loader");
  *l = (ds_loader){.o = *o, .n = n, .step = 1, .ring = {.work = -1, .news = -1}, .supervisor = {0, -1}};
  if (l->o.timeout_s == 0) l->o.timeout_s = 120;
  if (o->todo) l->o.group = 2, l->o.groups_per_step = 1;
  NEED(l->data = calloc((size_t)n, sizeof *l->data), E_NOMEM, "%d data sets", n);
  memcpy(l->data, data, (size_t)n * sizeof *data);
  if (!o->todo) TRY(mixer_open(l));
  TRY(ring_open(l));
  if (o->workers) TRY(ds_supervisor_start(&l->ring, l->data, &l->supervisor));
  *out = l;
  l = NULL;
out:
  ds_loader_close(&l);
  return st;
}

void ds_loader_close(ds_loader **lp) {
  ds_loader *l = *lp;

  if (!l) return;
  ds_supervisor_stop(&l->supervisor);
  ds_ring_destroy(&l->ring);
  ds_mixer_destroy(&l->mixer);
  free(l->jobs);
  free(l->attempts);
  free(l->picks);
  ds_bad_files_fini(&l->bad);
  free(l->data);
  free(l);
  *lp = NULL;
}

double ds_loader_waited(ds_loader *l) {
  const double s = l->waited_s;

  l->waited_s = 0;
  return s;
}

void ds_loader_memory(const ds_loader *l, void **at, size_t *bytes, bool *known) {
  *at = l->ring.map;
  *bytes = l->ring.map_size;
  *known = true;
  for (int i = 0; i < l->n; i++) *known = *known && !ds_reserve_unknown(l->data[i].source);
}

int64_t ds_loader_bad_files(const ds_loader *l) { return l->bad.n - l->bad.left_out; }
const char *ds_loader_bad_file(const ds_loader *l, int64_t i, int *dataset) {
  const ds_bad_item *item = l->bad.items;

  for (; item->left_out || i > 0; item++) i -= !item->left_out;
  *dataset = item->dataset;
  return item->reason;
}
int64_t ds_loader_left_out(const ds_loader *l, int dataset) { return ds_bad_files_left_out(&l->bad, dataset); }

int ds_loader_worker_pids(const ds_loader *l, int *pids, int max) {
  for (int w = 0; w < l->ring.nworkers && w < max; w++)
    pids[w] = __atomic_load_n(&l->ring.workers[w].pid, __ATOMIC_ACQUIRE);
  return l->ring.nworkers;
}
