#include "trainer/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t seen;

static void on_signal(int sig) {
  if (seen) _exit(128 + sig);
  seen = sig;
}

int tr_signals_install(void) {
  int st = OK;
  const int signals[] = {SIGINT, SIGTERM, SIGUSR1};
  struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

  sigemptyset(&sa.sa_mask);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    NEED(!sigaction(signals[i], &sa, NULL), E_FAIL, "signal %d: %s", signals[i], strerror(errno));
  /* a reader of standard output that goes away is an error of a write, not the end of a run */
  NEED(signal(SIGPIPE, SIG_IGN) != SIG_ERR, E_FAIL, "SIGPIPE: %s", strerror(errno));
out:
  return st;
}

int tr_signal_seen(void) { return seen; }
