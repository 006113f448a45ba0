#include "datasets/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "datasets/worker.h"

enum { START_MS = 30000, END_MS = 2000, RETRY_MS = 100 };

typedef struct command {
  int worker;
  uint32_t life;
} command; /* worker -1: end */

typedef struct crew {
  ds_ring *ring;
  const ds_data *data;
  int ctl, child_ended;
} crew;

/* Dies with its parent, also when that is gone already. */
static void die_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
}

/* The terminal's and the scheduler's signals go to the whole process group; what they mean is the trainer's
 * to decide. */
static void leave_signals_to_trainer(void) {
  static const int left[] = {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGPIPE};
  static const int own[] = {SIGCHLD, SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

  for (size_t i = 0; i < sizeof left / sizeof *left; i++) signal(left[i], SIG_IGN);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  for (size_t i = 0; i < 2; i++) signal(own[i], SIG_DFL); /* the others print the sanitizer's report */
#else
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) signal(own[i], SIG_DFL);
#endif
}

static void silence(int fd) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

  if (null < 0) return;
  dup2(null, fd);
  close(null);
}

/* Where memory runs out the kernel takes a worker, which can be replaced, not the trainer. */
static void offer_to_oom_killer(void) {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

  if (fd < 0) return;
  if (write(fd, "500", 3) < 0) {} /* only a wish */
  close(fd);
}

static void worker_run(crew *c, int w, pid_t parent) {
  const struct rlimit no_core = {0, 0}; /* a crash on a damaged file is nothing to keep a core for */
  sigset_t none;

  die_with(parent);
  signal(SIGTERM, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_NAME, "e2eft-decoder");
  setrlimit(RLIMIT_CORE, &no_core);
  offer_to_oom_killer();
  silence(STDIN_FILENO);
  silence(STDOUT_FILENO);
  ds_worker_main(c->data, c->ring, w);
}

static void worker_spawn(crew *c, int w) {
  const pid_t parent = getpid(), pid = fork();

  if (pid == 0) {
    worker_run(c, w, parent);
    _exit(0);
  }
  __atomic_add_fetch(&c->ring->workers[w].life, 1, __ATOMIC_RELEASE);
  __atomic_store_n(&c->ring->workers[w].pid, pid > 0 ? pid : 0, __ATOMIC_RELEASE);
}

/* Forks every worker that is missing; how many are there. */
static int workers_fill(crew *c) {
  int there = 0;

  for (int w = 0; w < c->ring->nworkers; w++) {
    if (!c->ring->workers[w].pid) worker_spawn(c, w);
    there += c->ring->workers[w].pid != 0;
  }
  return there;
}

static void workers_bury(crew *c) {
  const struct timespec pause = {0, 10000000};
  int status;
  pid_t pid;

  while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
    for (int w = 0; w < c->ring->nworkers; w++) {
      if (c->ring->workers[w].pid != pid) continue;
      __atomic_store_n(&c->ring->workers[w].pid, 0, __ATOMIC_RELEASE);
      if (!ds_ring_bury(c->ring, w, status))
        nanosleep(&pause, NULL); /* whatever kills idle workers: no race with it */
    }
}

/* Waits for them a while only: one may hang in a dead network disk, where even SIGKILL has to wait. */
static void workers_end(crew *c) {
  const struct timespec ms = {0, 1000000};

  for (int w = 0; w < c->ring->nworkers; w++)
    if (c->ring->workers[w].pid) kill(c->ring->workers[w].pid, SIGKILL);
  for (int i = 0; i < END_MS && waitpid(-1, NULL, WNOHANG) >= 0; i++) nanosleep(&ms, NULL);
  _exit(0);
}

static void command_take(crew *c) {
  command cmd;
  const ssize_t n = recv(c->ctl, &cmd, sizeof cmd, MSG_DONTWAIT);

  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n != sizeof cmd || cmd.worker < 0) workers_end(c); /* also when the trainer is gone */
  const ds_ring_worker *w = &c->ring->workers[cmd.worker];
  if (w->pid && w->life == cmd.life) kill(w->pid, SIGKILL);
}

static void supervise(crew *c, pid_t trainer) {
  sigset_t chld;
  struct signalfd_siginfo info;
  int there;

  die_with(trainer);
  prctl(PR_SET_NAME, "e2eft-decoders");
  leave_signals_to_trainer();
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  sigprocmask(SIG_SETMASK, &chld, NULL);
  c->child_ended = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
  if (c->child_ended < 0 || workers_fill(c) < c->ring->nworkers) workers_end(c);
  send(c->ctl, "", 1, MSG_NOSIGNAL);
  for (;;) {
    struct pollfd on[2] = {{.fd = c->ctl, .events = POLLIN}, {.fd = c->child_ended, .events = POLLIN}};
    if (!(there = workers_fill(c))) workers_end(c);
    if (poll(on, 2, there < c->ring->nworkers ? RETRY_MS : -1) < 0) continue;
    if (on[0].revents) command_take(c);
    while (read(c->child_ended, &info, sizeof info) > 0) {
    }
    workers_bury(c);
  }
}

int ds_supervisor_start(ds_ring *r, const ds_data *data, ds_supervisor *out) {
  int st = OK, end[2] = {-1, -1};
  const pid_t self = getpid();
  ds_supervisor s = {0, -1};
  char ready;

  for (int w = 0; w < r->nworkers; w++) r->workers[w].pid = 0;
  NEED(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end) == 0, E_FAIL, "socketpair: %s",
       strerror(errno));
  const pid_t pid = fork();
  NEED(pid >= 0, E_FAIL, "cannot start decoder processes: fork: %s", strerror(errno));
  if (pid == 0) {
    crew c = {.ring = r, .data = data, .ctl = end[1]};
    close(end[0]);
    supervise(&c, self);
  }
  s = (ds_supervisor){pid, end[0]};
  end[0] = -1;
  close(end[1]); /* before the wait, so that a supervisor that ends is seen */
  end[1] = -1;
  struct pollfd on = {.fd = s.ctl, .events = POLLIN};
  int n;
  while ((n = poll(&on, 1, START_MS)) < 0 && errno == EINTR) {
  }
  NEED(n > 0 && recv(s.ctl, &ready, 1, MSG_DONTWAIT) == 1, E_FAIL, "cannot start %d decoder processes",
       r->nworkers);
  *out = s;
  s.pid = 0;
  s.ctl = -1;
out:
  if (end[0] >= 0) close(end[0]);
  if (end[1] >= 0) close(end[1]);
  if (s.pid > 0) kill(s.pid, SIGKILL);
  ds_supervisor_stop(&s);
  return st;
}

void ds_supervisor_kill(const ds_supervisor *s, int w, uint32_t life) {
  const command cmd = {w, life};

  send(s->ctl, &cmd, sizeof cmd, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void ds_supervisor_stop(ds_supervisor *s) {
  if (s->ctl >= 0) {
    ds_supervisor_kill(s, -1, 0);
    close(s->ctl);
  }
  if (s->pid > 0)
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {
    }
  *s = (ds_supervisor){0, -1};
}
