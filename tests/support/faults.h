/* tests/support/faults.h: makes the i-th call of base/io.h's table fail.
 *   for (int i = 1; ; i++) {
 *     faults_begin(i, ENOSPC, FAULTS_ONCE);
 *     st = save(...);
 *     if (!faults_end()) break;    (the call succeeded: there were fewer than i)
 *     ... st, faults.what
 *   }
 * faults.log then holds the order of the calls, one a line, by base names: "mkdir a", "open b", "fsync b",
 * "rename b.tmp b", without writes and closes. */
#ifndef TESTS_SUPPORT_FAULTS_H
#define TESTS_SUPPORT_FAULTS_H
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

typedef enum {
  FAULTS_ONCE,   /* call i alone fails */
  FAULTS_STUCK,  /* call i and all after it: what a kill at that point leaves */
  FAULTS_COUNT,  /* none fails */
  FAULTS_SLOW    /* none fails; writes are cut to 7 bytes and every other call is interrupted first */
} faults_mode;

static struct {
  faults_mode mode;
  int at, error, calls;
  bool hit, interrupted;
  int unsynced;        /* descriptor whose fsync failed, -1: none */
  bool synced_again;   /* it was tried again: it would succeed, and prove nothing */
  char what[64 + IO_PATH_MAX]; /* the call that failed: "rename /x/y.tmp" */
  char log[1 << 14];           /* as much as fits */
  char names[64][128];         /* base name of what a descriptor is open on */
} faults;

static inline const char *faults_base(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

static inline const char *faults_name(int fd) { return fd >= 0 && fd < 64 ? faults.names[fd] : "?"; }

static inline void faults_note(const char *call, const char *a, const char *b) {
  const size_t n = strlen(faults.log);
  snprintf(faults.log + n, sizeof faults.log - n, "%s %s%s%s\n", call, faults_base(a), b[0] ? " " : "", faults_base(b));
}

/* True when this call fails, with errno. */
static inline bool faults_fail(const char *call, const char *path) {
  if (faults.mode == FAULTS_SLOW && (faults.interrupted = !faults.interrupted)) {
    errno = EINTR;
    return true;
  }
  faults.calls++;
  if (faults.mode == FAULTS_SLOW || faults.mode == FAULTS_COUNT) return false;
  if (faults.calls < faults.at || (faults.calls > faults.at && faults.mode == FAULTS_ONCE)) return false;
  if (!faults.hit) snprintf(faults.what, sizeof faults.what, "%s %s", call, path);
  faults.hit = true;
  errno = faults.error;
  return true;
}

static inline int faults_open(const char *path, int flags, mode_t mode) {
  if (faults_fail("open", path)) return -1;
  const int fd = open(path, flags, mode);
  if (fd < 0) return fd;
  if (fd < 64) snprintf(faults.names[fd], sizeof faults.names[fd], "%.120s", faults_base(path));
  if (flags & O_CREAT) faults_note("open", path, "");
  return fd;
}
static inline ssize_t faults_write(int fd, const void *buf, size_t n) {
  if (faults_fail("write", faults_name(fd))) return -1;
  return write(fd, buf, faults.mode == FAULTS_SLOW && n > 7 ? 7 : n);
}
static inline int faults_fsync(int fd) {
  faults.synced_again = faults.synced_again || fd == faults.unsynced;
  if (faults_fail("fsync", faults_name(fd))) {
    if (errno != EINTR) faults.unsynced = fd;
    return -1;
  }
  faults_note("fsync", faults_name(fd), "");
  return 0; /* it is what makes tests slow */
}
static inline int faults_close(int fd) {
  if (fd == faults.unsynced) faults.unsynced = -1;
  const int rc = close(fd); /* gone even when it reports an error, as with the real one */
  return faults_fail("close", faults_name(fd)) ? -1 : rc;
}
/* The rest is never interrupted. */
static inline bool faults_fail_path(const char *call, const char *path) {
  return faults.mode != FAULTS_SLOW && faults_fail(call, path);
}
static inline int faults_rename(const char *from, const char *to) {
  if (faults_fail_path("rename", from)) return -1;
  faults_note("rename", from, to);
  return rename(from, to);
}
static inline int faults_mkdir(const char *path, mode_t mode) {
  if (faults_fail_path("mkdir", path)) return -1;
  faults_note("mkdir", path, "");
  return mkdir(path, mode);
}
static inline int faults_unlink(const char *path) {
  if (faults_fail_path("unlink", path)) return -1;
  faults_note("unlink", path, "");
  return unlink(path);
}
static inline int faults_rmdir(const char *path) {
  if (faults_fail_path("rmdir", path)) return -1;
  faults_note("rmdir", path, "");
  return rmdir(path);
}
static inline int faults_ftruncate(int fd, off_t size) {
  return faults_fail_path("ftruncate", faults_name(fd)) ? -1 : ftruncate(fd, size);
}

static inline ssize_t faults_read(int fd, void *buf, size_t n) {
  if (faults_fail("read", faults_name(fd))) return -1;
  return read(fd, buf, faults.mode == FAULTS_SLOW && n > 7 ? 7 : n);
}

static inline void faults_begin(int at, int error, faults_mode mode) {
  static const io_calls table = {faults_open,  faults_write, faults_fsync, faults_close,    faults_rename,
                                 faults_mkdir, faults_unlink, faults_rmdir, faults_ftruncate, faults_read};
  memset(&faults, 0, sizeof faults);
  faults.unsynced = -1;
  faults.mode = mode;
  faults.at = at;
  faults.error = error;
  io_set_calls(&table);
}

/* Calls work again; true when one was made to fail. fsync stays without effect: it is what makes tests slow. */
static inline bool faults_end(void) {
  faults.mode = FAULTS_COUNT;
  return faults.hit;
}

/* A group's set-up: no fsync from the start, and files in memory where there is any: small ones, that live briefly. */
static inline int faults_no_sync(void **state) {
  (void)state;
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  faults_begin(0, 0, FAULTS_COUNT);
  return 0;
}
#endif
