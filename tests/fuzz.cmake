# Parsers of ours on hostile input: tests/fuzz/fuzz_NAME.c over tests/fuzz/corpus/NAME. scripts/fuzz.sh runs the same
# targets under clang's libFuzzer. A new target is its file, its corpus and its name here and in that script.
function(e2eft_fuzz name)
  cmake_parse_arguments(A "" "MUTATIONS" "LINK" ${ARGN})
  add_executable(fuzz_${name} fuzz/fuzz_${name}.c fuzz/replay.c)
  target_include_directories(fuzz_${name} PRIVATE "${CMAKE_SOURCE_DIR}")
  target_compile_definitions(fuzz_${name} PRIVATE _GNU_SOURCE) # memfd_create
  target_compile_options(fuzz_${name} PRIVATE ${E2EFT_C_WARNINGS})
  target_link_libraries(fuzz_${name} PRIVATE ${A_LINK} base m)
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME fuzz_${name} COMMAND fuzz_${name} "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name}" ${A_MUTATIONS})
  set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()

e2eft_fuzz(csv LINK datasets MUTATIONS 20000)
e2eft_fuzz(manifest LINK datasets MUTATIONS 10000)
e2eft_fuzz(cache_index LINK datasets MUTATIONS 20000)
e2eft_fuzz(npy LINK datasets MUTATIONS 20000)
e2eft_fuzz(png LINK datasets MUTATIONS 5000)
e2eft_fuzz(jpeg LINK datasets MUTATIONS 5000)
e2eft_fuzz(safetensors LINK base MUTATIONS 20000)
e2eft_fuzz(config LINK configs MUTATIONS 5000)
