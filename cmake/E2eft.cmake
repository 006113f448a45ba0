# The house rules of every target in one place.

# e2eft_library(NAME SOURCES ... [LINK ...]): one static library a folder; headers are included from the root.
function(e2eft_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC "${CMAKE_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:C>:${E2EFT_C_WARNINGS}>
                                         $<$<COMPILE_LANGUAGE:CXX>:${E2EFT_CXX_WARNINGS}>)
  target_link_libraries(${name} PUBLIC ${A_LINK})
endfunction()

# e2eft_test(NAME LINK ... [LABELS ...] [TIMEOUT s] [ARGS ...]): tests/NAME.c, a cmocka program.
# Labels: fast (the default) and golden run always; slow runs with --all; gpu needs a device and exits 77 without.
function(e2eft_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "LINK;LABELS;ARGS;SOURCES" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  if(NOT A_LABELS)
    set(A_LABELS fast)
  endif()
  if(NOT A_SOURCES)
    set(A_SOURCES "${CMAKE_SOURCE_DIR}/tests/${name}.c")
  endif()
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}")
  target_compile_definitions(${name} PRIVATE TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data")
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:C>:${E2EFT_C_WARNINGS}>)
  target_link_libraries(${name} PRIVATE ${A_LINK} PkgConfig::CMOCKA m)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME ${name} COMMAND ${name} ${A_ARGS} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77
                                          ENVIRONMENT "OMP_NUM_THREADS=1;E2EFT=$<TARGET_FILE:e2eft>")
endfunction()
