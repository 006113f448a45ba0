/* tests/support/program.h: the program as users run it: arguments in, exit status and both outputs out, never a hang.
 *   program p = program_run(60, "train", config, "--dry-run", NULL);
 *   assert_int_equal(p.status, 0);
 *   program_free(&p); */
#ifndef TESTS_SUPPORT_PROGRAM_H
#define TESTS_SUPPORT_PROGRAM_H
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/check.h"

enum { PROGRAM_ARGS = 64 };
typedef struct program {
  pid_t pid;
  FILE *files[2];  /* what stdout and stderr go to */
  char *out, *err; /* after program_wait */
  int status;      /* exit status, or 128 + signal, as a shell has it */
} program;

enum { PROGRAM_UNPREPARED = 99 }; /* status when `prepare` failed */

/* args NULL-ended, without the program's name, which is $E2EFT. prepare(ctx), when there is one, runs in the child
 * before the program does; it returns 0 or the program is not started. */
static inline program program_start_in(int (*prepare)(const void *), const void *ctx, const char *const *args) {
  program p = {.files = {tmpfile(), tmpfile()}};
  const char *binary = getenv("E2EFT"), *argv[PROGRAM_ARGS] = {binary};
  int n = 1;

  if (!binary) fail_msg("E2EFT names no program");
  for (; *args && n + 1 < PROGRAM_ARGS; args++) argv[n++] = *args;
  assert_true(!*args && p.files[0] && p.files[1]);
  fflush(NULL);
  p.pid = fork();
  if (p.pid == 0) {
    setpgid(0, 0);
    dup2(fileno(p.files[0]), STDOUT_FILENO);
    dup2(fileno(p.files[1]), STDERR_FILENO);
    if (prepare && prepare(ctx)) _exit(PROGRAM_UNPREPARED);
    execv(binary, (char *const *)argv);
    _exit(127);
  }
  assert_true(p.pid > 0);
  setpgid(p.pid, p.pid);
  return p;
}

static inline program program_start_v(const char *const *args) { return program_start_in(NULL, NULL, args); }

static inline char *program_text(FILE **fp) {
  FILE *f = *fp;
  const long n = (fseek(f, 0, SEEK_END), ftell(f));
  char *text = malloc((size_t)n + 1);

  assert_non_null(text);
  rewind(f);
  text[fread(text, 1, (size_t)n, f)] = 0;
  fclose(f);
  *fp = NULL;
  return text;
}

static inline void program_nap(void) { nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); }

static inline double program_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Waits for the end; after `limit` seconds the program's group is killed and the test fails. */
static inline void program_wait(program *p, double limit) {
  const double end = program_now() + limit;
  bool late = false;
  int ws;

  while (waitpid(p->pid, &ws, WNOHANG) == 0) {
    if (!late && program_now() > end) {
      late = true;
      kill(-p->pid, SIGKILL);
    }
    program_nap();
  }
  p->status = WIFEXITED(ws) ? WEXITSTATUS(ws) : 128 + WTERMSIG(ws);
  p->out = program_text(&p->files[0]);
  p->err = program_text(&p->files[1]);
  if (late) fail_msg("still running after %g s; stderr: %s", limit, p->err);
}

static inline void program_free(program *p) {
  free(p->out);
  free(p->err);
  *p = (program){0};
}

/* NULL-ended list of arguments. */
static inline program program_run(double limit, ...) {
  const char *args[PROGRAM_ARGS];
  int n = 0;
  va_list ap;

  va_start(ap, limit);
  do args[n] = va_arg(ap, const char *);
  while (args[n++] && n < PROGRAM_ARGS);
  va_end(ap);
  program p = program_start_v(args);
  program_wait(&p, limit);
  return p;
}

/* Status as wanted, or the test fails with what the program said. */
static inline void program_expect(const program *p, int status) {
  if (p->status != status) fail_msg("exit status %d, %d wanted; stderr: %s", p->status, status, p->err);
}

/* Exactly one message of an error ("e2eft: ..."), which holds `part`. */
static inline void program_expect_error(const program *p, int status, const char *part) {
  int n = 0;

  program_expect(p, status);
  for (const char *at = p->err; (at = strstr(at, "e2eft: ")); at++) n += at == p->err || at[-1] == '\n';
  if (n != 1 || !strstr(p->err, part)) fail_msg("one error with \"%s\" wanted; stderr: %s", part, p->err);
}
#endif
