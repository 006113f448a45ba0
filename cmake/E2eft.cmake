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

# e2eft_peer_test(NAME [LABELS ...] [TIMEOUT s] [ARGS ...]): tests/NAME.py, run by the Python that scripts/peer-python.sh
# makes, or by $E2EFT_PEER_PYTHON; skipped where there is neither. Label slow, unless told otherwise; never under sanitizers.
function(e2eft_peer_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "LABELS;ARGS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 600)
  endif()
  if(NOT A_LABELS)
    set(A_LABELS slow)
  endif()
  add_test(NAME ${name} COMMAND bash "${CMAKE_SOURCE_DIR}/tests/peer.sh" "${CMAKE_SOURCE_DIR}/tests/${name}.py" ${A_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS};notasan" TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77
                                          ENVIRONMENT "OMP_NUM_THREADS=1;E2EFT=$<TARGET_FILE:e2eft>;E2EFT_TESTS=${CMAKE_BINARY_DIR}/tests")
endfunction()
