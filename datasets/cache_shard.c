/* Shards: the HDF5 around the rows. Made with libhdf5, filled and read without it. */
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "datasets/cache_row.h"
#include "datasets/sample.h"

enum { PAGE = 4096 };

static const char *const names[DS_CACHE_KINDS] = {[DS_CACHE_LATENT] = "latent",
                                                  [DS_CACHE_METRIC] = "metric",
                                                  [DS_CACHE_DEPTH] = "depth",
                                                  [DS_CACHE_NORMALS] = "normals",
                                                  [DS_CACHE_MASK] = "mask"};

int ds_shard_path(const char *dir, int64_t shard, const char *suffix, char *out) {
  return io_path(out, "%s/shard-%05lld.h5%s", dir, (long long)shard, suffix);
}

/* Extents of plane k with its rows; their number. */
static int extents(const ds_cache_form *f, int rows, int k, hsize_t dim[4]) {
  const hsize_t n = (hsize_t)rows;

  if (k == DS_CACHE_STATE) return dim[0] = n, 1;
  switch (k % DS_CACHE_KINDS) {
  case DS_CACHE_LATENT:
    memcpy(dim, (const hsize_t[]){n, (hsize_t)f->latent.C, (hsize_t)f->latent.h, (hsize_t)f->latent.w}, 4 * sizeof *dim);
    return 4;
  case DS_CACHE_MASK: memcpy(dim, (const hsize_t[]){n, ds_cache_plane_bytes(f, k)}, 2 * sizeof *dim); return 2;
  default:
    memcpy(dim, (const hsize_t[]){n, k % DS_CACHE_KINDS == DS_CACHE_NORMALS ? 3 : 1, (hsize_t)f->H, (hsize_t)f->W},
           4 * sizeof *dim);
    return 4;
  }
}

/* bfloat16, which HDF5 has no name for, is kept as its 16 bits. */
static hid_t element(const ds_cache_form *f, int k) {
  if (k == DS_CACHE_STATE || k % DS_CACHE_KINDS == DS_CACHE_MASK) return H5T_STD_U8LE;
  return k % DS_CACHE_KINDS == DS_CACHE_LATENT && f->latent.size == 2 ? H5T_STD_U16LE : H5T_IEEE_F32LE;
}

/* Contiguous, its bytes set aside at once but not written. */
static hid_t contiguous(void) {
  const hid_t p = H5Pcreate(H5P_DATASET_CREATE);

  if (p >= 0 && H5Pset_layout(p, H5D_CONTIGUOUS) >= 0 && H5Pset_alloc_time(p, H5D_ALLOC_TIME_EARLY) >= 0 &&
      H5Pset_fill_time(p, H5D_FILL_TIME_NEVER) >= 0 && H5Pset_obj_track_times(p, false) >= 0)
    return p;
  if (p >= 0) H5Pclose(p);
  return -1;
}

static bool add_plane(hid_t file, hid_t how, const ds_cache_form *f, int rows, int k, int64_t *offset) {
  hsize_t dim[4];
  char name[32];
  const int n = extents(f, rows, k, dim);

  if (k == DS_CACHE_STATE) snprintf(name, sizeof name, "state");
  else snprintf(name, sizeof name, "%s%s", names[k % DS_CACHE_KINDS], k < DS_CACHE_KINDS ? "" : "_mirrored");
  const hid_t space = H5Screate_simple(n, dim, NULL);
  const hid_t set = space < 0 ? -1 : H5Dcreate2(file, name, element(f, k), space, H5P_DEFAULT, how, H5P_DEFAULT);
  const haddr_t at = set < 0 ? HADDR_UNDEF : H5Dget_offset(set);
  if (set >= 0) H5Dclose(set);
  if (space >= 0) H5Sclose(space);
  *offset = (int64_t)at;
  return at != HADDR_UNDEF;
}

/* `id`: fixed-length strings; and the text that the shard was made of as the file's attribute `made_of`. */
static bool add_texts(hid_t file, hid_t how, int rows, const char *ids, const char *made_of) {
  const hsize_t n = (hsize_t)rows;
  const hid_t id = H5Tcopy(H5T_C_S1), text = H5Tcopy(H5T_C_S1), list = H5Screate_simple(1, &n, NULL), one = H5Screate(H5S_SCALAR);
  bool good = id >= 0 && text >= 0 && list >= 0 && one >= 0 && H5Tset_size(id, DS_ID_MAX) >= 0 &&
              H5Tset_size(text, strlen(made_of) + 1) >= 0;
  const hid_t set = good ? H5Dcreate2(file, "id", id, list, H5P_DEFAULT, how, H5P_DEFAULT) : -1;
  const hid_t made = good ? H5Acreate2(file, "made_of", text, one, H5P_DEFAULT, H5P_DEFAULT) : -1;

  good = set >= 0 && made >= 0 && H5Dwrite(set, id, H5S_ALL, H5S_ALL, H5P_DEFAULT, ids) >= 0 && H5Awrite(made, text, made_of) >= 0;
  if (set >= 0) H5Dclose(set);
  if (made >= 0) H5Aclose(made);
  if (id >= 0) H5Tclose(id);
  if (text >= 0) H5Tclose(text);
  if (list >= 0) H5Sclose(list);
  if (one >= 0) H5Sclose(one);
  return good;
}

static bool fill_file(hid_t file, const ds_cache_form *f, int rows, const char *ids, const char *made_of, ds_cache_shard *s) {
  const hid_t how = contiguous();
  bool good = how >= 0 && add_texts(file, how, rows, ids, made_of);

  for (int k = 0; good && k < DS_CACHE_PLANES; k++)
    if (ds_cache_plane_bytes(f, k)) good = add_plane(file, how, f, rows, k, &s->offset[k]);
  if (how >= 0) H5Pclose(how);
  return good;
}

static int sync_and_measure(const char *path, int64_t *size) {
  int st = OK;
  io_file f = {.fd = -1};
  struct stat info;

  TRY(io_append(path, &f));
  TRY(io_sync(&f));
  NEED(fstat(f.fd, &info) == 0, E_IO, "%s: %s", path, strerror(errno));
  *size = info.st_size;
out:
  (void)io_close(&f);
  return st;
}

int ds_shard_create(const char *path, const ds_cache_form *f, int rows, const char *ids, const char *made_of,
                    ds_cache_shard *out) {
  int st = OK;
  ds_cache_shard s = {0};
  bool good = false;

  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  errno = 0;
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (access >= 0) H5Pset_alignment(access, PAGE, PAGE);
  const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
  if (file >= 0) good = fill_file(file, f, rows, ids, made_of, &s);
  if (file >= 0 && H5Fclose(file) < 0) good = false;
  if (access >= 0) H5Pclose(access);
  NEED(good, err_of_errno(errno, E_IO), "%s: cannot write HDF5: %s", path, errno ? strerror(errno) : "the library gave no reason");
  TRY(sync_and_measure(path, &s.size));
  *out = s;
out:
  return st;
}
