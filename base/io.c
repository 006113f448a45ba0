#define _GNU_SOURCE /* sync_file_range */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int posix_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

static const io_calls posix_calls = {posix_open, write, fsync, close, rename, mkdir, unlink, rmdir, ftruncate,
                                      read};
static const io_calls *calls = &posix_calls;

void io_set_calls(const io_calls *c) { calls = c ? c : &posix_calls; }

/* ---- writing ---- */

static int open_retry(const char *path, int flags, mode_t mode) {
  int fd;
  do fd = calls->open(path, flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

static int open_file(const char *path, int flags, const char *verb, io_file *f) {
  int st = OK;

  *f = (io_file){.fd = -1};
  TRY(io_path(f->path, "%s", path));
  f->fd = open_retry(path, O_WRONLY | O_CREAT | flags, 0666);
  NEED(f->fd >= 0, err_of_errno(errno, E_IO), "%s: cannot %s: %s", path, verb, strerror(errno));
out:
  return st;
}

int io_create(const char *path, io_file *f) { return open_file(path, O_TRUNC, "create", f); }
int io_append(const char *path, io_file *f) { return open_file(path, O_APPEND, "append to", f); }

static int write_all(io_file *f, const char *p, size_t left) {
  int st = OK;

  while (left) {
    const ssize_t done = calls->write(f->fd, p, left);
    if (done < 0 && errno == EINTR) continue;
    NEED(done >= 0, err_of_errno(errno, E_IO), "%s: cannot write: %s", f->path, strerror(errno));
    NEED(done > 0, E_DISK, "%s: cannot write: the system takes no more bytes", f->path);
    p += done;
    left -= (size_t)done;
  }
out:
  return st;
}

/* Large ones in parts that go to the disk while the next is looked at, instead of all at once in fsync. */
int io_write(io_file *f, const void *buf, size_t n) {
  enum { PART = 32 << 20 };
  int st = OK;
  const char *p = buf;

  for (size_t left = n, part; left; p += part, left -= part) {
    part = left < PART ? left : PART;
    TRY(write_all(f, p, part));
    if (part == PART) (void)sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* only begins; fsync has the last word */
    if (f->tap) f->tap(f->tap_ctx, p, part);
  }
out:
  return st;
}

/* Interrupted is not failed: nothing was reported lost. Any other error may have dropped dirty pages, and a second
 * fsync would call them clean. */
static int sync_fd(int fd, const char *path) {
  int st = OK, rc;

  do rc = calls->fsync(fd);
  while (rc && errno == EINTR);
  NEED(rc == 0, err_of_errno(errno, E_IO), "%s: cannot sync: %s", path, strerror(errno));
out:
  return st;
}

int io_sync(io_file *f) { return sync_fd(f->fd, f->path); }

int io_close(io_file *f) {
  int st = OK;

  if (f->fd < 0) return OK;
  const int rc = calls->close(f->fd);
  f->fd = -1; /* gone whatever close says, EINTR included */
  NEED(rc == 0 || errno == EINTR, err_of_errno(errno, E_IO), "%s: cannot close: %s", f->path, strerror(errno));
out:
  return st;
}

void io_discard(io_file *f, const char *path) {
  if (f->fd >= 0) calls->close(f->fd);
  f->fd = -1;
  if (path[0]) calls->unlink(path);
}

int io_write_file(const char *path, const void *data, size_t n) {
  int st = OK;
  char tmp[IO_PATH_MAX] = "";
  io_file f = {.fd = -1};

  TRY(io_path(tmp, "%s.tmp", path));
  TRY(io_create(tmp, &f));
  TRY(io_write(&f, data, n));
  TRY(io_sync(&f));
  TRY(io_close(&f));
  TRY(io_rename(tmp, path));
  TRY(io_sync_parent(path));
out:
  if (st != OK) io_discard(&f, tmp);
  return st;
}

int io_rename(const char *from, const char *to) {
  int st = OK;
  NEED(calls->rename(from, to) == 0, err_of_errno(errno, E_IO), "%s: cannot rename to %s: %s", from, to,
       strerror(errno));
out:
  return st;
}

int io_sync_dir(const char *path) {
  int st = OK;
  const int fd = open_retry(path, O_RDONLY | O_DIRECTORY, 0);

  NEED(fd >= 0, err_of_errno(errno, E_IO), "%s: cannot open the folder: %s", path, strerror(errno));
  TRY(sync_fd(fd, path));
out:
  if (fd >= 0) calls->close(fd);
  return st;
}

/* The folder that holds path, "." for a bare name. Trailing slashes do not count. */
static int parent_of(const char *path, char out[IO_PATH_MAX]) {
  int st = OK;
  char *slash;

  TRY(io_path(out, "%s", path));
  for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--) out[n - 1] = 0;
  slash = strrchr(out, '/');
  if (!slash) strcpy(out, ".");
  else slash[slash == out ? 1 : 0] = 0;
out:
  return st;
}

int io_sync_parent(const char *path) {
  int st = OK;
  char parent[IO_PATH_MAX];

  TRY(parent_of(path, parent));
  TRY(io_sync_dir(parent));
out:
  return st;
}

static int make_dir(const char *path) {
  int st = OK;

  if (io_is_dir(path)) return OK;
  if (calls->mkdir(path, 0777) != 0) {
    const int why = errno;
    if (why == EEXIST && io_is_dir(path)) return OK; /* another process was faster */
    FAIL(err_of_errno(why, E_IO), "%s: cannot make the folder: %s", path,
         why == EEXIST ? "a file of that name is there" : strerror(why));
  }
  TRY(io_sync_parent(path));
out:
  return st;
}

int io_make_dirs(const char *path) {
  int st = OK;
  char part[IO_PATH_MAX];

  TRY(io_path(part, "%s", path));
  for (char *p = part + 1; part[0] && *p; p++) {
    if (*p != '/') continue;
    *p = 0;
    TRY(make_dir(part));
    *p = '/';
  }
  TRY(make_dir(part));
out:
  return st;
}

static int remove_children(const char *path) {
  int st = OK;
  size_t n = 0;
  char **names = NULL, child[IO_PATH_MAX];

  TRY(io_list_dir(path, &names, &n));
  for (size_t i = 0; i < n; i++) {
    TRY(io_path(child, "%s/%s", path, names[i]));
    TRY(io_remove_tree(child));
  }
out:
  io_free_names(&names, n);
  return st;
}

int io_remove_tree(const char *path) {
  int st = OK, rc;
  struct stat s;

  if (lstat(path, &s) != 0) {
    NEED(errno == ENOENT || errno == ENOTDIR, err_of_errno(errno, E_IO), "%s: cannot look at: %s", path, strerror(errno));
    return OK;
  }
  if (S_ISDIR(s.st_mode)) TRY(remove_children(path));
  rc = S_ISDIR(s.st_mode) ? calls->rmdir(path) : calls->unlink(path);
  NEED(rc == 0 || errno == ENOENT, err_of_errno(errno, E_IO), "%s: cannot remove: %s", path, strerror(errno));
out:
  return st;
}

/* For reading, a regular file only: opening a FIFO would wait for ever. */
static int open_regular(const char *path, int *out, size_t *size) {
  int st = OK;
  struct stat s;
  int fd = open_retry(path, O_RDONLY | O_NONBLOCK, 0);

  NEED(fd >= 0, err_of_errno(errno, E_IO), "%s: cannot open: %s", path, strerror(errno));
  NEED(fstat(fd, &s) == 0, E_IO, "%s: cannot look at: %s", path, strerror(errno));
  NEED(S_ISREG(s.st_mode), E_IO, "%s: not a file%s", path, S_ISDIR(s.st_mode) ? " but a folder" : "");
  *size = (size_t)s.st_size;
  *out = fd;
  fd = -1;
out:
  if (fd >= 0) close(fd);
  return st;
}

static int copy_bytes(int from, const char *path, io_file *to) {
  enum { CHUNK = 1 << 20 };
  int st = OK;
  ssize_t got;
  char *buf = malloc(CHUNK);

  NEED(buf, E_NOMEM, "%s: %d bytes to copy through", path, CHUNK);
  do {
    got = calls->read(from, buf, CHUNK);
    if (got < 0 && errno == EINTR) continue;
    NEED(got >= 0, err_of_errno(errno, E_IO), "%s: cannot read: %s", path, strerror(errno));
    TRY(io_write(to, buf, (size_t)got));
  } while (got != 0);
out:
  free(buf);
  return st;
}

int io_copy_file(const char *from, const char *to) {
  int st = OK, in = -1;
  size_t size;
  io_file f = {.fd = -1};

  TRY(open_regular(from, &in, &size));
  TRY(io_create(to, &f));
  TRY(copy_bytes(in, from, &f));
  TRY(io_sync(&f));
  TRY(io_close(&f));
out:
  if (in >= 0) close(in);
  if (st != OK) io_discard(&f, "");
  return st;
}

int io_copy_tree(const char *from, const char *to) {
  int st = OK;
  size_t n = 0;
  char **names = NULL, a[IO_PATH_MAX], b[IO_PATH_MAX];

  TRY(io_list_dir(from, &names, &n));
  TRY(io_make_dirs(to));
  for (size_t i = 0; i < n; i++) {
    TRY(io_path(a, "%s/%s", from, names[i]));
    TRY(io_path(b, "%s/%s", to, names[i]));
    TRY(io_is_dir(a) ? io_copy_tree(a, b) : io_copy_file(a, b));
  }
  TRY(io_sync_dir(to));
out:
  io_free_names(&names, n);
  return st;
}

/* ---- reading ---- */

bool io_exists(const char *path) {
  struct stat s;
  return stat(path, &s) == 0;
}

bool io_is_dir(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static int read_all(int fd, const char *path, char *buf, size_t size, size_t *n) {
  int st = OK;
  size_t have = 0;

  while (have < size) {
    const ssize_t got = calls->read(fd, buf + have, size - have);
    if (got < 0 && errno == EINTR) continue;
    NEED(got >= 0, err_of_errno(errno, E_IO), "%s: cannot read: %s", path, strerror(errno));
    if (got == 0) break; /* it shrank meanwhile */
    have += (size_t)got;
  }
  *n = have;
out:
  return st;
}

int io_read_file(const char *path, size_t max, char **data, size_t *n) {
  int st = OK, fd = -1;
  size_t size, got = 0;
  char *buf = NULL;

  TRY(open_regular(path, &fd, &size));
  NEED(size <= max, E_FORMAT, "%s: %zu bytes, at most %zu are allowed", path, size, max);
  NEED((buf = malloc(size + 1)) != NULL, E_NOMEM, "%s: %zu bytes", path, size);
  TRY(read_all(fd, path, buf, size, &got));
  buf[got] = 0;
  *data = buf;
  *n = got;
  buf = NULL;
out:
  if (fd >= 0) close(fd);
  free(buf);
  return st;
}

int io_scan(const char *path, bool from_disk, void (*see)(void *ctx, const void *buf, size_t n), void *ctx) {
  enum { CHUNK = 4 << 20 };
  int st = OK, fd = -1;
  size_t size;
  ssize_t got;
  char *buf = NULL;

  TRY(open_regular(path, &fd, &size));
  const size_t room = size < CHUNK ? size + 1 : CHUNK;
  NEED((buf = malloc(room)) != NULL, E_NOMEM, "%s: %zu bytes to read through", path, room);
  if (from_disk) (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* a wish: not all file systems grant it */
  do {
    got = calls->read(fd, buf, room);
    if (got < 0 && errno == EINTR) continue;
    NEED(got >= 0, err_of_errno(errno, E_IO), "%s: cannot read: %s", path, strerror(errno));
    if (got > 0) see(ctx, buf, (size_t)got);
  } while (got != 0);
out:
  if (fd >= 0) close(fd);
  free(buf);
  return st;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int name_push(char ***names, size_t *n, size_t *room, const char *name) {
  if (*n == *room) {
    const size_t more = *room ? 2 * *room : 32;
    char **grown = realloc(*names, more * sizeof **names);
    if (!grown) return E_NOMEM;
    *names = grown;
    *room = more;
  }
  if (((*names)[*n] = strdup(name)) == NULL) return E_NOMEM;
  ++*n;
  return OK;
}

int io_list_dir(const char *path, char ***names, size_t *n) {
  int st = OK;
  char **list = NULL;
  size_t count = 0, room = 0;
  DIR *d = opendir(path);

  NEED(d, E_IO, "%s: cannot open the folder: %s", path, strerror(errno));
  for (;;) {
    errno = 0;
    const struct dirent *e = readdir(d);
    NEED(e || errno == 0, E_IO, "%s: cannot list: %s", path, strerror(errno));
    if (!e) break;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    NEED(name_push(&list, &count, &room, e->d_name) == OK, E_NOMEM, "%s: a list of %zu names", path, count);
  }
  if (count) qsort(list, count, sizeof *list, by_bytes);
  *names = list;
  *n = count;
  list = NULL;
out:
  if (d) closedir(d);
  io_free_names(&list, count);
  return st;
}

void io_free_names(char ***names, size_t n) {
  if (*names)
    for (size_t i = 0; i < n; i++) free((*names)[i]);
  free(*names);
  *names = NULL;
}

int io_need_free(const char *path) {
  int st = OK;
  size_t n = 0;
  char **names = NULL;

  if (!io_exists(path)) goto out;
  NEED(io_is_dir(path), E_IO, "%s: is a file, a folder wanted", path);
  TRY(io_list_dir(path, &names, &n));
  NEED(n == 0, E_IO, "%s: is there already and not empty", path);
out:
  io_free_names(&names, n);
  return st;
}

/* ---- paths ---- */

int io_path(char out[IO_PATH_MAX], const char *fmt, ...) {
  int st = OK, n;
  va_list ap;

  va_start(ap, fmt);
  n = vsnprintf(out, IO_PATH_MAX, fmt, ap);
  va_end(ap);
  NEED(n >= 0 && n < IO_PATH_MAX, E_FAIL, "%.200s...: a path of %d bytes, at most %d fit", out, n, IO_PATH_MAX - 1);
out:
  return st;
}

int io_path_beside(char out[IO_PATH_MAX], const char *base, const char *rel) {
  const char *slash = strrchr(base, '/');

  if (rel[0] == '/' || !slash) return io_path(out, "%s", rel);
  return io_path(out, "%.*s/%s", (int)(slash - base), base, rel);
}
