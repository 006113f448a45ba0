/* base/io.h: the file system calls that the program writes through, and small helpers over them.
 * Everything that must survive a crash goes through io_*: a test installs its own io_calls to make the i-th call
 * fail, to record a protocol, or to cut a write short. Paths are UTF-8; messages name them. */
#ifndef BASE_IO_H
#define BASE_IO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { IO_PATH_MAX = 4096 };

/* Same contracts as the POSIX calls of these names: -1 and errno on failure. */
typedef struct io_calls {
  int (*open)(const char *path, int flags, mode_t mode);
  ssize_t (*write)(int fd, const void *buf, size_t n);
  int (*fsync)(int fd);
  int (*close)(int fd);
  int (*rename)(const char *from, const char *to);
  int (*mkdir)(const char *path, mode_t mode);
  int (*unlink)(const char *path);
  int (*rmdir)(const char *path);
  int (*ftruncate)(int fd, off_t size);
  ssize_t (*read)(int fd, void *buf, size_t n);
} io_calls;

/* NULL gives the POSIX calls back. Not thread-safe: for tests, before threads start. */
void io_set_calls(const io_calls *calls);

/* ---- writing ---- */
typedef struct io_file {
  int fd;                  /* -1 when closed */
  char path[IO_PATH_MAX];
  /* Shown every byte that was written, in order (for hashes). Set after opening; NULL: nobody looks. */
  void (*tap)(void *ctx, const void *buf, size_t n);
  void *tap_ctx;
} io_file;
/* Truncates or creates. After a failure f is closed. Errors: E_DISK, E_IO. */
int io_create(const char *path, io_file *f);
/* Appends to or creates. */
int io_append(const char *path, io_file *f);
/* Writes all n bytes; EINTR and short writes are continued. Errors: E_DISK (full, read-only, failing), E_IO. */
int io_write(io_file *f, const void *buf, size_t n);
/* fsync; a failed fsync is never retried. */
int io_sync(io_file *f);
/* Closes always; reports what close said. Safe on a closed file. */
int io_close(io_file *f);
/* For error paths: closes f without a word and removes path ("" for none). The error message stays. */
void io_discard(io_file *f, const char *path);
/* Whole file through `path.tmp`, fsync, rename, fsync of the folder. */
int io_write_file(const char *path, const void *data, size_t n);
int io_rename(const char *from, const char *to);
/* fsync of a folder: makes what was created, renamed or removed in it last. */
int io_sync_dir(const char *path);
/* fsync of the folder that holds path. */
int io_sync_parent(const char *path);
/* mkdir -p; each new folder is synced into its parent. An existing folder is fine. */
int io_make_dirs(const char *path);
/* Removes a file or a folder with all it holds; what is not there is fine. Symbolic links are not followed. */
int io_remove_tree(const char *path);
/* The copy is synced; its mode is that of a new file. */
int io_copy_file(const char *from, const char *to);
/* Copies a folder's files and folders into `to`, synced; symbolic links are followed. */
int io_copy_tree(const char *from, const char *to);

/* ---- reading; E_DISK where the disk fails ---- */
bool io_exists(const char *path);
bool io_is_dir(const char *path);
/* Nothing is there, or an empty folder: a place to write to. Errors: E_IO saying what is there, E_NOMEM. */
int io_need_free(const char *path);
/* Whole file, with one 0 byte behind it, in memory from malloc. Errors: E_IO, E_NOMEM, E_FORMAT (larger than max). */
int io_read_file(const char *path, size_t max, char **data, size_t *n);
/* Shows `see` every byte of a file, in order. By read and not by mapping: a bad sector is then an error and not a signal.
 * from_disk: what the system holds of the file in memory is given up first. Errors: E_IO, E_NOMEM. */
int io_scan(const char *path, bool from_disk, void (*see)(void *ctx, const void *buf, size_t n), void *ctx);
/* Names in a folder, sorted by bytes, without "." and "..". Free with io_free_names. Errors: E_IO. */
int io_list_dir(const char *path, char ***names, size_t *n);
void io_free_names(char ***names, size_t n);

/* ---- paths ---- */
/* printf into a path buffer. Errors: E_FAIL when it does not fit. */
int io_path(char out[IO_PATH_MAX], const char *fmt, ...) ERR_PRINTF(2, 3);
/* rel as seen from the folder of file `base`; absolute paths stay. */
int io_path_beside(char out[IO_PATH_MAX], const char *base, const char *rel);
#ifdef __cplusplus
}
#endif
#endif
