#include "base/element.h"

#include <stdint.h>
#include <string.h>

#include "base/half.h"

static const struct { const char *name; size_t size; bool is_float; } types[EL_TYPES] = {
    [EL_U8] = {"8-bit unsigned integer", 1, false},   [EL_I8] = {"8-bit integer", 1, false},
    [EL_U16] = {"16-bit unsigned integer", 2, false}, [EL_I16] = {"16-bit integer", 2, false},
    [EL_U32] = {"32-bit unsigned integer", 4, false}, [EL_I32] = {"32-bit integer", 4, false},
    [EL_I64] = {"64-bit integer", 8, false},          [EL_F16] = {"16-bit float", 2, true},
    [EL_F32] = {"32-bit float", 4, true},             [EL_F64] = {"64-bit float", 8, true}};

size_t el_size(el_type t) { return types[t].size; }
const char *el_name(el_type t) { return types[t].name; }
bool el_is_float(el_type t) { return types[t].is_float; }

float el_f32(el_type t, const void *at) {
  union { uint8_t u8; int8_t i8; uint16_t u16; int16_t i16; uint32_t u32; int32_t i32; int64_t i64; float f32; double f64; } v;

  memcpy(&v, at, types[t].size);
  switch (t) {
  case EL_U8: return (float)v.u8;
  case EL_I8: return (float)v.i8;
  case EL_U16: return (float)v.u16;
  case EL_I16: return (float)v.i16;
  case EL_U32: return (float)v.u32;
  case EL_I32: return (float)v.i32;
  case EL_I64: return (float)v.i64;
  case EL_F16: return half_to_f32(v.u16);
  case EL_F32: return v.f32;
  case EL_F64: break;
  }
  return (float)v.f64;
}
