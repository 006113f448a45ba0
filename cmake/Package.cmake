# cmake --install and the tarball (cmake --build build/release --target package): a folder that runs where it is put,
# on a machine that has torch and no package manager.
#   bin/e2eft            finds torch and starts the program
#   libexec/e2eft        the program; its small libraries are in lib/, libtorch is not
#   lib/libe2eft_kernels.so, libtchc_cuda.so    opened where there is a GPU
#   configs/             the presets
set_target_properties(e2eft PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
# The old kind of rpath, which holds for the libraries' own libraries too (HDF5 wants curl, and curl much else).
target_link_options(e2eft PRIVATE -Wl,--disable-new-dtags)
# What every Linux has, what torch brings, and what the driver brings stay out.
set(_outside "^ld-linux" "^lib(c|m|dl|rt|pthread|resolv|util)\\.so" "^libgcc_s" "^libstdc\\+\\+"
    "^lib(gomp|torch|c10|cuda|cudart|cudnn|cupti|nvperf|nvrtc|nccl|shm)")
install(TARGETS e2eft RUNTIME_DEPENDENCY_SET e2eft_libraries RUNTIME DESTINATION libexec)
install(RUNTIME_DEPENDENCY_SET e2eft_libraries PRE_EXCLUDE_REGEXES ${_outside} LIBRARY DESTINATION lib)
install(PROGRAMS cmake/e2eft-wrapper.sh DESTINATION bin RENAME e2eft)
install(DIRECTORY configs/ DESTINATION configs FILES_MATCHING PATTERN "*.yaml" PATTERN "*.json"
                                              PATTERN "quickstart.yaml" EXCLUDE)
install(FILES README.md LICENSE DESTINATION .)

set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME e2eft)
set(CPACK_PACKAGE_FILE_NAME "e2eft-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}")
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
