/* tests/support/tmpfs.h: a small or read-only file system for one program.
 *   const tmpfs t = {tmpdir_at(state, "small"), "size=1m", 0};
 *   program p = program_start_in(tmpfs_mount, &t, args);    status PROGRAM_UNPREPARED: not possible here, skip() */
#ifndef TESTS_SUPPORT_TMPFS_H
#define TESTS_SUPPORT_TMPFS_H
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

typedef struct tmpfs { const char *at; const char *options; unsigned long flags; } tmpfs;

static inline int tmpfs_write(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  const int bad = !f || fputs(text, f) < 0;
  return (f && fclose(f)) || bad;
}

/* A file system of its own at ctx->at, in a namespace of its own: needs no privilege where user namespaces are allowed. */
static inline int tmpfs_mount(const void *ctx) {
  const tmpfs *t = ctx;
  char users[64], groups[64];

  snprintf(users, sizeof users, "0 %u 1", (unsigned)geteuid());
  snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getegid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) || tmpfs_write("/proc/self/setgroups", "deny") ||
      tmpfs_write("/proc/self/uid_map", users) || tmpfs_write("/proc/self/gid_map", groups))
    return -1;
  return mount("none", t->at, "tmpfs", t->flags, t->options);
}
#endif
