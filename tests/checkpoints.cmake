foreach(name state rundir background best export ldm)
  e2eft_test(ck_${name}_test LINK checkpoints base)
endforeach()
e2eft_test(ck_power_test LINK checkpoints base PkgConfig::XXHASH LABELS fast notasan TIMEOUT 300)

e2eft_test(ck_faults_test LINK checkpoints base LABELS fast notasan)
e2eft_test(ck_damage_test LINK checkpoints base LABELS fast notasan)
e2eft_test(ck_nomem_test LINK checkpoints configs base)
target_link_options(ck_nomem_test PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup)

# killed at random moments: a few always, 500 among the slow tests
add_executable(ck_saver ${CMAKE_CURRENT_SOURCE_DIR}/ck_saver.c)
target_compile_options(ck_saver PRIVATE ${E2EFT_C_WARNINGS} ${OpenMP_C_FLAGS})
target_link_libraries(ck_saver PRIVATE checkpoints OpenMP::OpenMP_C)
set_target_properties(ck_saver PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
e2eft_test(ck_kill_test LINK checkpoints base LABELS fast notasan ARGS $<TARGET_FILE:ck_saver> 40 30 TIMEOUT 200)
add_dependencies(ck_kill_test ck_saver)
add_test(NAME ck_kill_slow_test COMMAND ck_kill_test $<TARGET_FILE:ck_saver> 500 120)
set_tests_properties(ck_kill_slow_test PROPERTIES LABELS "slow;notasan" TIMEOUT 600)
