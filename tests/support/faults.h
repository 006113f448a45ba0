/* tests/support/faults.h: makes the i-th call of base/io.h's table fail.
 *   for (int i = 1; ; i++) {
 *     faults_begin(i, ENOSPC, FAULTS_ONCE);
 *     st = save(...);
 *     if (!faults_end()) break;    (the call succeeded: there were fewer than i)
 *     ... st, faults.what
 *   } */
#ifndef TESTS_SUPPORT_FAULTS_H
#define TESTS_SUPPORT_FAULTS_H
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
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
  char what[64 + IO_PATH_MAX]; /* the call that failed: "rename /x/y.tmp" */
} faults;

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
  return faults_fail("open", path) ? -1 : open(path, flags, mode);
}
static inline ssize_t faults_write(int fd, const void *buf, size_t n) {
  if (faults_fail("write", "")) return -1;
  return write(fd, buf, faults.mode == FAULTS_SLOW && n > 7 ? 7 : n);
}
static inline int faults_fsync(int fd) { (void)fd; return faults_fail("fsync", "") ? -1 : 0; }
static inline int faults_close(int fd) {
  const int rc = close(fd); /* gone even when it reports an error, as with the real one */
  return faults_fail("close", "") ? -1 : rc;
}
static inline int faults_rename(const char *from, const char *to) {
  if (faults.mode == FAULTS_SLOW) return rename(from, to); /* these are never interrupted */
  return faults_fail("rename", from) ? -1 : rename(from, to);
}
static inline int faults_mkdir(const char *path, mode_t mode) {
  if (faults.mode == FAULTS_SLOW) return mkdir(path, mode);
  return faults_fail("mkdir", path) ? -1 : mkdir(path, mode);
}
static inline int faults_unlink(const char *path) {
  if (faults.mode == FAULTS_SLOW) return unlink(path);
  return faults_fail("unlink", path) ? -1 : unlink(path);
}
static inline int faults_rmdir(const char *path) {
  if (faults.mode == FAULTS_SLOW) return rmdir(path);
  return faults_fail("rmdir", path) ? -1 : rmdir(path);
}
static inline int faults_ftruncate(int fd, off_t size) {
  return faults_fail("ftruncate", "") ? -1 : ftruncate(fd, size);
}

static inline void faults_begin(int at, int error, faults_mode mode) {
  static const io_calls table = {faults_open,  faults_write, faults_fsync, faults_close,    faults_rename,
                                 faults_mkdir, faults_unlink, faults_rmdir, faults_ftruncate};
  memset(&faults, 0, sizeof faults);
  faults.mode = mode;
  faults.at = at;
  faults.error = error;
  io_set_calls(&table);
}

/* Gives the real calls back; true when one was made to fail. */
static inline bool faults_end(void) {
  io_set_calls(NULL);
  return faults.hit;
}
#endif
