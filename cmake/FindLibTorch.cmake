# FindLibTorch: libtorch from a PyPI wheel or a libtorch archive, without TorchConfig.cmake (which needs a
# CUDA toolkit, picks its own architectures and takes seconds).
# Looked for in this order: LIBTORCH_ROOT (cache, then environment), the torch of the python3 on PATH (asked
# without importing it), build/deps as filled by cmake/fetch-libtorch.sh.
# Defines LibTorch::cpu (headers, c10, torch_cpu), LibTorch_VERSION, LibTorch_LIB_DIR.
set(LIBTORCH_ROOT "$ENV{LIBTORCH_ROOT}" CACHE PATH "folder that holds lib/libtorch_cpu.so and include/ATen")
if(NOT LIBTORCH_ROOT)
  find_program(_lt_python NAMES python3 python)
  if(_lt_python)
    execute_process(
      COMMAND "${_lt_python}" -c
              "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(s.origin) if s else '')"
      OUTPUT_VARIABLE _lt_root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(_lt_root AND EXISTS "${_lt_root}/include/torch/headeronly/version.h")
      file(STRINGS "${_lt_root}/include/torch/headeronly/version.h" _lt_v REGEX "define TORCH_VERSION_M(AJOR|INOR) ")
      # another minor version has other ABI details: only the pinned one is taken unasked
      if("${_lt_v}" MATCHES "MAJOR ${LibTorch_FIND_VERSION_MAJOR}.*MINOR ${LibTorch_FIND_VERSION_MINOR}")
        set(LIBTORCH_ROOT "${_lt_root}")
      endif()
    endif()
  endif()
endif()
if(NOT LIBTORCH_ROOT AND EXISTS "${CMAKE_SOURCE_DIR}/build/deps/torch/lib/libtorch_cpu.so")
  set(LIBTORCH_ROOT "${CMAKE_SOURCE_DIR}/build/deps/torch")
endif()
if(NOT LIBTORCH_ROOT)
  message(STATUS "libtorch: not on this machine, fetching the pinned wheel into build/deps")
  execute_process(COMMAND "${CMAKE_SOURCE_DIR}/cmake/fetch-libtorch.sh" "${CMAKE_SOURCE_DIR}/build/deps"
                  RESULT_VARIABLE _lt_rc)
  if(_lt_rc EQUAL 0)
    set(LIBTORCH_ROOT "${CMAKE_SOURCE_DIR}/build/deps/torch")
  endif()
endif()

find_path(LibTorch_INCLUDE_DIR ATen/ATen.h HINTS "${LIBTORCH_ROOT}/include" NO_DEFAULT_PATH)
foreach(_lt_lib c10 torch_cpu)
  find_library(LibTorch_${_lt_lib} ${_lt_lib} HINTS "${LIBTORCH_ROOT}/lib" NO_DEFAULT_PATH)
endforeach()
if(EXISTS "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h")
  file(STRINGS "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h" _lt_v
       REGEX "define TORCH_VERSION(_MAJOR|_MINOR|_PATCH) ")
  string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3" LibTorch_VERSION "${_lt_v}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch REQUIRED_VARS LibTorch_torch_cpu LibTorch_c10 LibTorch_INCLUDE_DIR VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "set LIBTORCH_ROOT to .../site-packages/torch of torch 2.11, or let cmake/fetch-libtorch.sh reach PyPI")
if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  get_filename_component(LibTorch_LIB_DIR "${LibTorch_torch_cpu}" DIRECTORY)
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  target_include_directories(LibTorch::cpu SYSTEM INTERFACE "${LibTorch_INCLUDE_DIR}"
                             "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_link_libraries(LibTorch::cpu INTERFACE "${LibTorch_torch_cpu}" "${LibTorch_c10}")
  target_compile_features(LibTorch::cpu INTERFACE cxx_std_17)
endif()
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_c10 LibTorch_torch_cpu)
