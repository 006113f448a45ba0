/* base/err.h: status codes and the calling thread's error message.
 * Every function that can fail returns int: OK or one negative code below. Results come through pointers, last,
 * and are written only on success. Only main turns a code into an exit status. */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#ifdef __cplusplus
extern "C" {
#endif

/* Codes are classes of failure, not places: what happened is in the message. */
enum {
  OK = 0,
  E_FAIL = -1,     /* none of the others                                              exit 1 */
  E_CONFIG = -2,   /* command line or config file                                     exit 2 */
  E_DATA = -3,     /* a data set's file or folder                                     exit 3 */
  E_CKPT = -4,     /* a checkpoint, a model folder, a run folder                      exit 4 */
  E_DISK = -5,     /* the disk is full, read-only, or fails                           exit 5 */
  E_DEVICE = -6,   /* no such device, CUDA, libtorch                                  exit 6 */
  E_NUMERIC = -7,  /* non-finite numbers                                              exit 7 */
  E_NOMEM = -8,    /* host or device memory                                           exit 6 */
  E_IO = -9,       /* a file that cannot be opened or read; callers know what it was  exit 1 */
  E_FORMAT = -10,  /* a file whose content is wrong or cut                            exit 1 */
  E_SHAPE = -11,   /* tensor shapes or sizes that do not fit                          exit 1 */
  E_STOPPED = -75  /* a signal; the state is saved                                    exit 75 */
};

#if defined(__GNUC__)
#define ERR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define ERR_PRINTF(f, a)
#endif

/* Starts the thread's message anew; returns code, so that it can end a function. */
int err_set(int code, const char *file, int line, const char *fmt, ...) ERR_PRINTF(4, 5);
/* Puts "text: " before the message and gives it another class; for a caller who knows what the file was. */
int err_wrap(int code, const char *file, int line, const char *fmt, ...) ERR_PRINTF(4, 5);
/* Adds one caller to the trail. */
int err_hop(int code, const char *file, int line);
/* The message, for users. Borrowed until the thread's next err_set; "" when nothing failed. */
const char *err_text(void);
/* Where it arose and who passed it on: "a.c:12 <- b.c:40". */
const char *err_trail(void);
void err_clear(void);
/* Message and trail, to be put back after a clean-up whose own failure would hide them. */
typedef struct err_saved { char text[8192], trail[512]; } err_saved;
void err_save(err_saved *out);
void err_restore(const err_saved *saved);
/* The documented exit status of a code. */
int err_exit_status(int code);
/* E_DISK for ENOSPC, EDQUOT, EROFS and EIO, otherwise `other`: for failed writes. */
int err_of_errno(int errno_value, int other);

/* Functions keep `int st = OK;` and one label `out`. ERR_BREAK=1 in the environment raises SIGTRAP at the first failure. */
#define FAIL(code, ...) do { st = err_set((code), __FILE__, __LINE__, __VA_ARGS__); goto out; } while (0)
#define NEED(cond, code, ...) do { if (!(cond)) FAIL((code), __VA_ARGS__); } while (0)
#define TRY(call) do { if ((st = (call)) != OK) { err_hop(st, __FILE__, __LINE__); goto out; } } while (0)
/* TRY that says what the caller was about: the message gets the text in front, the status becomes `code`. */
#define TRY_AS(code, call, ...) \
  do { if ((st = (call)) != OK) { st = err_wrap((code), __FILE__, __LINE__, __VA_ARGS__); goto out; } } while (0)

#ifdef __cplusplus
}
#endif
#endif
