#include "datasets/h5.h"

#include <errno.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clones.h"
#include "datasets/h5_type.h"

enum { BYTES_MAX = 1 << 29, CHUNK_MAX = 1 << 28, NAME_SIZE = 256, ANY = 0 };
#define DATASET "dataset" /* Hypersim's name */

struct file {
  const char *path;
  hid_t fapl, file, dset, space, type, dcpl;
  int ndim;
  hsize_t dim[DS_H5_DIMS_MAX];
  size_t element;
};

/* ---- messages ---- */

static herr_t keep_first(unsigned n, const H5E_error2_t *e, void *to) {
  if (n == 0 && e->desc) snprintf(to, 200, "%s", e->desc);
  return 0;
}

/* Fails with the innermost entry of the library's error stack. */
static int h5_failed(const char *path, const char *what) {
  char why[200] = "no reason given";

  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, why);
  return err_set(E_DATA, __FILE__, __LINE__, "%s: %s: %s", path, what, why);
}

#define H5TRY(condition, path, what)                                                                                 \
  do {                                                                                                               \
    if (!(condition)) {                                                                                              \
      st = h5_failed((path), (what));                                                                                \
      goto out;                                                                                                      \
    }                                                                                                                \
  } while (0)

static int wrong_type(const struct file *f, el_type want) {
  const H5T_class_t c = H5Tget_class(f->type);

  return err_set(E_DATA, __FILE__, __LINE__, "%s: wanted a `dataset` of little-endian %s, found %zu-bit %s", f->path,
                 el_name(want), 8 * H5Tget_size(f->type),
                 c == H5T_FLOAT     ? "float"
                 : c == H5T_INTEGER ? "integer"
                                    : "other type");
}

/* ---- opening ---- */

static const struct file closed = {.fapl = -1, .file = -1, .dset = -1, .space = -1, .type = -1, .dcpl = -1};

static void file_close(struct file *f) {
  if (f->dcpl >= 0) H5Pclose(f->dcpl);
  if (f->type >= 0) H5Tclose(f->type);
  if (f->space >= 0) H5Sclose(f->space);
  if (f->dset >= 0) H5Dclose(f->dset);
  if (f->file >= 0) H5Fclose(f->file);
  if (f->fapl >= 0) H5Pclose(f->fapl);
  *f = closed;
}

/* Rank and extents, refused before anything is allocated for them. */
static int read_extents(struct file *f, int ndim) {
  int st = OK;
  uint64_t bytes = f->element;
  const int found = H5Sget_simple_extent_ndims(f->space);

  if (ndim == ANY && found >= 1 && found <= DS_H5_DIMS_MAX) ndim = found;
  NEED(H5Sget_simple_extent_type(f->space) == H5S_SIMPLE && found == ndim, E_DATA,
       "%s: wanted a `dataset` of %d dimensions, found %d", f->path, ndim == ANY ? 2 : ndim, found);
  H5TRY(H5Sget_simple_extent_dims(f->space, f->dim, NULL) == ndim, f->path, "extents");
  for (int i = 0; i < ndim; i++) {
    NEED(f->dim[i] > 0, E_DATA, "%s: dimension %d is 0", f->path, i);
    NEED(f->dim[i] <= BYTES_MAX && (bytes *= f->dim[i]) <= BYTES_MAX, E_DATA, "%s: larger than %d bytes", f->path,
         BYTES_MAX);
  }
  f->ndim = ndim;
out:
  return st;
}

/* The name of the one thing in the file's root. */
static int only_name(const struct file *f, char name[NAME_SIZE]) {
  int st = OK;
  H5G_info_t root;

  H5TRY(H5Gget_info(f->file, &root) >= 0, f->path, "root group");
  NEED(root.nlinks == 1, E_DATA, "%s: %" PRIuHSIZE " datasets in its root: say which one as FILE:NAME", f->path,
       root.nlinks);
  const ssize_t n = H5Lget_name_by_idx(f->file, ".", H5_INDEX_NAME, H5_ITER_INC, 0, name, NAME_SIZE, H5P_DEFAULT);
  H5TRY(n > 0 && n < NAME_SIZE, f->path, "name of its dataset");
out:
  return st;
}

/* name NULL: the only dataset that there is. ndim ANY: 1 to DS_H5_DIMS_MAX. */
static int file_open(const char *path, const char *name, int ndim, struct file *f) {
  int st = OK;
  char only[NAME_SIZE];

  *f = closed;
  f->path = path;
  NEED(access(path, R_OK) == 0, E_DATA, "%s: %s", path, strerror(errno));
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5TRY((f->fapl = H5Pcreate(H5P_FILE_ACCESS)) >= 0, path, "HDF5 library");
  H5Pset_file_locking(f->fapl, false, true); /* network file systems often have no locks, and nothing is written */
  H5TRY((f->file = H5Fopen(path, H5F_ACC_RDONLY, f->fapl)) >= 0, path, "not a readable HDF5 file");
  if (!name) TRY(only_name(f, only));
  H5TRY((f->dset = H5Dopen2(f->file, name ? name : only, H5P_DEFAULT)) >= 0, path,
        !name || strcmp(name, DATASET) ? "no such dataset" : "no `dataset`");
  H5TRY((f->type = H5Dget_type(f->dset)) >= 0, path, "type");
  H5TRY((f->space = H5Dget_space(f->dset)) >= 0, path, "extents");
  H5TRY((f->dcpl = H5Dget_create_plist(f->dset)) >= 0, path, "storage");
  NEED((f->element = H5Tget_size(f->type)) > 0 && f->element <= 8, E_DATA, "%s: elements of %zu bytes", path,
       f->element);
  TRY(read_extents(f, ndim));
out:
  return st;
}

static int check_type(const struct file *f, el_type want) {
  int st = OK;
  hid_t t = -1;

  H5TRY((t = ds_h5_type(want)) >= 0, f->path, "type");
  if (H5Tequal(f->type, t) <= 0) st = wrong_type(f, want);
out:
  if (t >= 0) H5Tclose(t);
  return st;
}

/* ---- chunks: packed bytes by libhdf5, unpacked here, so that size and checksum are ours to judge ---- */

struct chunks {
  hsize_t dim[DS_H5_DIMS_MAX]; /* of one chunk */
  size_t bytes;                /* of one chunk, unpacked */
  bool deflate;
};

static int chunks_describe(const struct file *f, struct chunks *c) {
  int st = OK;
  uint64_t bytes = f->element;

  H5TRY(H5Pget_chunk(f->dcpl, f->ndim, c->dim) == f->ndim, f->path, "chunk extents");
  for (int i = 0; i < f->ndim; i++)
    NEED(c->dim[i] > 0 && c->dim[i] <= CHUNK_MAX && (bytes *= c->dim[i]) <= CHUNK_MAX, E_DATA,
         "%s: chunks larger than %d bytes", f->path, CHUNK_MAX);
  c->bytes = (size_t)bytes;
out:
  return st;
}

/* The chunk whose first element is at `at`, unpacked into h->chunk. */
static int chunk_unpack(ds_h5 *h, const struct file *f, const struct chunks *c, const hsize_t *at) {
  int st = OK;
  unsigned skipped = 0;
  uint32_t skipped_too = 0;
  haddr_t where = HADDR_UNDEF;
  hsize_t size = 0;

  H5TRY(H5Dget_chunk_info_by_coord(f->dset, at, &skipped, &where, &size) >= 0, f->path, "chunk index");
  NEED(where != HADDR_UNDEF && size > 0, E_DATA, "%s: the chunk at (%" PRIuHSIZE ",%" PRIuHSIZE ") is missing",
       f->path, at[0], f->ndim > 1 ? at[1] : 0);
  NEED(skipped == 0 && size <= CHUNK_MAX && (c->deflate || size == c->bytes), E_DATA,
       "%s: the chunk at (%" PRIuHSIZE ",%" PRIuHSIZE ") has %" PRIuHSIZE " bytes and filter mask %u", f->path, at[0],
       f->ndim > 1 ? at[1] : 0, size, skipped);
  TRY(ds_buf_need(&h->packed, (size_t)size));
  H5TRY(H5Dread_chunk(f->dset, H5P_DEFAULT, at, &skipped_too, c->deflate ? h->packed.p : h->chunk.p) >= 0, f->path,
        "chunk");
  if (!c->deflate) goto out;
  NEED(ds_inflate(&h->inflater, h->packed.p, (size_t)size, h->chunk.p, c->bytes), E_DATA,
       "%s: the chunk at (%" PRIuHSIZE ",%" PRIuHSIZE ") does not unpack to its %zu bytes", f->path, at[0],
       f->ndim > 1 ? at[1] : 0, c->bytes);
out:
  return st;
}

/* One row of a chunk into the array: n[0] pixels of n[1] elements, in[0] and out[0] elements wide. Hypersim's colour is
 * chunked by channel, so that a pixel's elements are apart. */
BASE_CLONES static void row_place(const char *from, char *to, const size_t n[2], size_t in, size_t out, size_t element) {
  if (n[1] == in && in == out) {
    memcpy(to, from, n[0] * n[1] * element);
  } else if (element == sizeof(uint16_t)) {
    const uint16_t *a = (const uint16_t *)from;
    uint16_t *b = (uint16_t *)to;
    if (n[1] == 1 && in == 1)
      for (size_t y = 0; y < n[0]; y++) b[y * out] = a[y];
    else
      for (size_t y = 0; y < n[0]; y++, a += in, b += out)
        for (size_t x = 0; x < n[1]; x++) b[x] = a[x];
  } else {
    for (size_t y = 0; y < n[0]; y++) memcpy(to + y * out * element, from + y * in * element, n[1] * element);
  }
}

/* The chunk at `at` into the array, clipped at its end. Missing dimensions count as 1, on the left. */
static void chunk_place(const struct file *f, const struct chunks *c, const hsize_t *at, const char *chunk,
                        char *out) {
  const int skip = DS_H5_DIMS_MAX - f->ndim;
  size_t dim[3] = {1, 1, 1}, part[3] = {1, 1, 1}, from[3] = {0}, n[3] = {1, 1, 1};

  for (int i = 0; i < f->ndim; i++) {
    dim[skip + i] = f->dim[i];
    part[skip + i] = c->dim[i];
    from[skip + i] = at[i];
    n[skip + i] = f->dim[i] - at[i] < c->dim[i] ? f->dim[i] - at[i] : c->dim[i];
  }
  for (size_t z = 0; z < n[0]; z++)
    row_place(chunk + z * part[1] * part[2] * f->element,
              out + (((from[0] + z) * dim[1] + from[1]) * dim[2] + from[2]) * f->element, n + 1, part[2], dim[2],
              f->element);
}

static int read_chunks(ds_h5 *h, const struct file *f, bool deflate, char *out) {
  int st = OK;
  struct chunks c = {.deflate = deflate};
  hsize_t at[DS_H5_DIMS_MAX] = {0};
  int i;

  TRY(chunks_describe(f, &c));
  TRY(ds_buf_need(&h->chunk, c.bytes));
  do {
    TRY(chunk_unpack(h, f, &c, at));
    chunk_place(f, &c, at, h->chunk.p, out);
    for (i = f->ndim - 1; i >= 0; i--) { /* the next chunk, last dimension fastest */
      if ((at[i] += c.dim[i]) < f->dim[i]) break;
      at[i] = 0;
    }
  } while (i >= 0);
out:
  return st;
}

/* Hypersim's images are chunked and deflated or, for the camera files, contiguous. Other filters are libhdf5's
 * business. */
static int read_elements(ds_h5 *h, const struct file *f, size_t bytes, void *out) {
  int st = OK;
  unsigned flags, config;
  size_t n = 0;
  const H5D_layout_t layout = H5Pget_layout(f->dcpl);
  const int filters = H5Pget_nfilters(f->dcpl);
  const bool deflate =
      filters == 1 && H5Pget_filter2(f->dcpl, 0, &flags, &n, NULL, 0, NULL, &config) == H5Z_FILTER_DEFLATE;

  NEED(layout == H5D_CHUNKED || layout == H5D_CONTIGUOUS || layout == H5D_COMPACT, E_DATA, "%s: a virtual `dataset`",
       f->path);
  NEED(H5Pget_external_count(f->dcpl) == 0, E_DATA, "%s: its data is in another file", f->path);
  if (layout == H5D_CHUNKED && (filters == 0 || deflate)) {
    TRY(read_chunks(h, f, deflate, out));
    goto out;
  }
  NEED(layout != H5D_CONTIGUOUS || H5Dget_storage_size(f->dset) == bytes, E_DATA,
       "%s: %" PRIuHSIZE " bytes stored, wanted %zu", f->path, H5Dget_storage_size(f->dset), bytes);
  H5TRY(H5Dread(f->dset, f->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0, f->path, "cannot read `dataset`");
out:
  return st;
}

int ds_h5_read(ds_h5 *h, const char *path, el_type type, int ndim, int64_t *shape, ds_buf *out) {
  int st = OK;
  size_t bytes;
  struct file f;

  TRY(file_open(path, DATASET, ndim, &f));
  TRY(check_type(&f, type));
  bytes = f.element;
  for (int i = 0; i < ndim; i++) {
    NEED(shape[i] == 0 || (hsize_t)shape[i] == f.dim[i], E_DATA,
         "%s: dimension %d is %" PRIuHSIZE ", wanted %" PRId64, path, i, f.dim[i], shape[i]);
    bytes *= f.dim[i];
  }
  TRY(ds_buf_need(out, bytes));
  TRY(read_elements(h, &f, bytes, out->p));
  for (int i = 0; i < ndim; i++) shape[i] = (int64_t)f.dim[i];
out:
  file_close(&f);
  return st;
}

int ds_h5_read_image(ds_h5 *h, const char *path, el_type type, int channels, int *H, int *W, ds_buf *out) {
  int st = OK;
  int64_t shape[DS_H5_DIMS_MAX] = {0, 0, channels};

  TRY(ds_h5_read(h, path, type, channels > 1 ? 3 : 2, shape, out));
  TRY(ds_size_check(path, shape[0], shape[1]));
  *H = (int)shape[0];
  *W = (int)shape[1];
out:
  return st;
}

/* ---- arrays of any type ---- */

static int find_type(const struct file *f, el_type *out) {
  int st = OK;

  for (int t = 0; t < EL_TYPES; t++) {
    const hid_t type = ds_h5_type((el_type)t);
    const bool same = type >= 0 && H5Tequal(f->type, type) > 0;
    if (type >= 0) H5Tclose(type);
    if (!same) continue;
    *out = (el_type)t;
    return OK;
  }
  FAIL(E_DATA, "%s: elements of %zu bytes that are no little-endian integers of 8 to 64 or floats of 16 to 64 bits",
       f->path, f->element);
out:
  return st;
}

int ds_h5_read_array(ds_h5 *h, const char *path, const char *name, ds_buf *bytes, ds_array *out) {
  int st = OK;
  size_t n;
  struct file f;
  ds_array a = {0};

  TRY(file_open(path, name, ANY, &f));
  TRY(find_type(&f, &a.type));
  n = f.element;
  a.ndim = f.ndim;
  for (int i = 0; i < f.ndim; i++) n *= (size_t)(a.shape[i] = (int64_t)f.dim[i]);
  TRY(ds_buf_need(bytes, n));
  TRY(read_elements(h, &f, n, bytes->p));
  a.data = bytes->p;
  *out = a;
out:
  file_close(&f);
  return st;
}

int ds_h5_image_size(const char *path, int channels, int *H, int *W) {
  int st = OK;
  struct file f;

  TRY(file_open(path, DATASET, channels > 1 ? 3 : 2, &f));
  TRY(ds_size_check(path, (int64_t)f.dim[0], (int64_t)f.dim[1]));
  *H = (int)f.dim[0];
  *W = (int)f.dim[1];
out:
  file_close(&f);
  return st;
}

void ds_h5_free(ds_h5 *h) {
  ds_buf_free(&h->packed);
  ds_buf_free(&h->chunk);
  ds_inflater_free(&h->inflater);
}
