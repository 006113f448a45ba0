#include "datasets/h5_write.h"

#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "datasets/h5_type.h"

static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER; /* HDF5 is not thread-safe as Debian builds it */

enum { MAX_RANK = 3, GZIP_LEVEL = 9 };

/* h5py's rule, which made Hypersim's files: halve the sides in turn until a chunk is near a size that grows slowly with
 * the array's. */
static void choose_chunk(const hsize_t dims[3], int rank, hsize_t chunk[3]) {
  const double bytes = 2.0 * (double)dims[0] * (double)dims[1] * (double)dims[2], most = 1 << 20;
  const double wanted = fmin(fmax(16384 * exp2(log10(bytes / most)), 8192), most);

  for (int i = 0; i < 3; i++) chunk[i] = dims[i];
  for (int i = 0;; i = (i + 1) % rank) {
    const double size = 2.0 * (double)chunk[0] * (double)chunk[1] * (double)chunk[2];
    if (((size < wanted || fabs(size - wanted) / wanted < 0.5) && size < most) || size == 2) break;
    chunk[i] = (chunk[i] + 1) / 2;
  }
}

/* One tile of a [dims] array of 2-byte elements, zero-padded to [chunk], deflated. */
static int deflate_tile(const uint16_t *data, const hsize_t dims[3], const hsize_t chunk[3], const hsize_t at[3], uint16_t *tile,
                        unsigned char *out, uLongf *n) {
  const size_t bytes = sizeof *tile * chunk[0] * chunk[1] * chunk[2];
  const hsize_t depth = dims[2] - at[2] < chunk[2] ? dims[2] - at[2] : chunk[2];

  memset(tile, 0, bytes);
  for (hsize_t y = 0; y < chunk[0] && at[0] + y < dims[0]; y++)
    for (hsize_t x = 0; x < chunk[1] && at[1] + x < dims[1]; x++) {
      const uint16_t *from = data + ((at[0] + y) * dims[1] + at[1] + x) * dims[2] + at[2];
      for (hsize_t z = 0; z < depth; z++) tile[(y * chunk[1] + x) * chunk[2] + z] = from[z];
    }
  return compress2(out, n, (const Bytef *)tile, bytes, GZIP_LEVEL) == Z_OK ? OK : E_NOMEM;
}

typedef struct tiles {
  size_t n, room;       /* bytes of one slot */
  hsize_t (*at)[3];
  unsigned char *data;
  uLongf *bytes;
} tiles;

static void free_tiles(tiles *t) {
  free(t->at);
  free(t->data);
  free(t->bytes);
}

static int deflate_all(const char *path, const uint16_t *data, const hsize_t dims[3], const hsize_t chunk[3], tiles *t) {
  int st = OK;
  const hsize_t ny = (dims[0] + chunk[0] - 1) / chunk[0], nx = (dims[1] + chunk[1] - 1) / chunk[1];
  const hsize_t nz = (dims[2] + chunk[2] - 1) / chunk[2];
  const size_t bytes = sizeof(uint16_t) * chunk[0] * chunk[1] * chunk[2];
  uint16_t *tile = malloc(bytes);

  t->n = ny * nx * nz;
  t->room = compressBound(bytes);
  t->at = calloc(t->n, sizeof *t->at);
  t->data = malloc(t->n * t->room);
  t->bytes = calloc(t->n, sizeof *t->bytes);
  NEED(tile && t->at && t->data && t->bytes, E_NOMEM, "%s: %zu bytes for compression", path, t->n * t->room);
  for (size_t i = 0; i < t->n; i++) {
    t->at[i][0] = i / nz / nx * chunk[0];
    t->at[i][1] = i / nz % nx * chunk[1];
    t->at[i][2] = i % nz * chunk[2];
    t->bytes[i] = t->room;
    NEED(deflate_tile(data, dims, chunk, t->at[i], tile, t->data + i * t->room, &t->bytes[i]) == OK, E_NOMEM, "%s: zlib", path);
  }
out:
  free(tile);
  return st;
}

/* With the library's lock held. *written false: HDF5 said no, errno may say why. */
static bool write_locked(const char *path, el_type type, int rank, const hsize_t *dims, const hsize_t *chunk, const void *data,
                         const tiles *t) {
  const hid_t ft = ds_h5_type(type), space = H5Screate_simple(rank, dims, NULL), plist = H5Pcreate(H5P_DATASET_CREATE);
  const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  /* without its time a file is a function of its data */
  bool good = ft >= 0 && space >= 0 && plist >= 0 && file >= 0 && H5Pset_obj_track_times(plist, 0) >= 0;

  if (good && t) good = H5Pset_chunk(plist, rank, chunk) >= 0 && H5Pset_deflate(plist, GZIP_LEVEL) >= 0;
  const hid_t set = good ? H5Dcreate2(file, "dataset", ft, space, H5P_DEFAULT, plist, H5P_DEFAULT) : H5I_INVALID_HID;
  good = set >= 0;
  if (good && !t) good = H5Dwrite(set, ft, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
  for (size_t i = 0; good && t && i < t->n; i++)
    good = H5Dwrite_chunk(set, H5P_DEFAULT, 0, t->at[i], t->bytes[i], t->data + i * t->room) >= 0;
  if (set >= 0) H5Dclose(set);
  if (file >= 0 && H5Fclose(file) < 0) good = false;
  if (plist >= 0) H5Pclose(plist);
  if (space >= 0) H5Sclose(space);
  if (ft >= 0) H5Tclose(ft);
  return good;
}

int ds_h5_write(const char *path, el_type type, int rank, const int64_t *dims, const void *data) {
  int st = OK;
  const bool compressed = el_size(type) == 2;
  hsize_t size[MAX_RANK] = {1, 1, 1}, chunk[MAX_RANK];
  tiles t = {0};
  bool good;

  NEED(rank >= 1 && rank <= MAX_RANK, E_SHAPE, "%s: rank %d, want 1 to %d", path, rank, MAX_RANK);
  for (int i = 0; i < rank; i++) size[i] = (hsize_t)dims[i];
  choose_chunk(size, rank, chunk);
  if (compressed) TRY(deflate_all(path, data, size, chunk, &t));
  pthread_mutex_lock(&library);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  errno = 0;
  good = write_locked(path, type, rank, size, chunk, data, compressed ? &t : NULL);
  pthread_mutex_unlock(&library);
  NEED(good, err_of_errno(errno, E_IO), "%s: cannot write HDF5: %s", path, errno ? strerror(errno) : "the library gave no reason");
out:
  free_tiles(&t);
  return st;
}
