#include "datasets/h5_type.h"

#include <hdf5.h>

/* libhdf5 1.10 has no name for half: sign 15, 5 exponent bits at 10 with bias 15, 10 mantissa bits. */
static hid_t half_type(void) {
  const hid_t t = H5Tcopy(H5T_IEEE_F32LE);

  if (t >= 0 && H5Tset_fields(t, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(t, 2) >= 0 && H5Tset_ebias(t, 15) >= 0) return t;
  if (t >= 0) H5Tclose(t);
  return H5I_INVALID_HID;
}

int64_t ds_h5_type(el_type t) {
  switch (t) {
  case EL_U8: return H5Tcopy(H5T_STD_U8LE);
  case EL_I8: return H5Tcopy(H5T_STD_I8LE);
  case EL_U16: return H5Tcopy(H5T_STD_U16LE);
  case EL_I16: return H5Tcopy(H5T_STD_I16LE);
  case EL_U32: return H5Tcopy(H5T_STD_U32LE);
  case EL_I32: return H5Tcopy(H5T_STD_I32LE);
  case EL_I64: return H5Tcopy(H5T_STD_I64LE);
  case EL_F16: return half_type();
  case EL_F32: return H5Tcopy(H5T_IEEE_F32LE);
  case EL_F64: break;
  }
  return H5Tcopy(H5T_IEEE_F64LE);
}
