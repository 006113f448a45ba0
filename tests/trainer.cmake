foreach(name cli pack fold metrics saver plan memory board)
  e2eft_test(tr_${name}_test LINK trainer)
endforeach()
foreach(name schedule ema)
  e2eft_test(tr_${name}_test LINK trainer LABELS golden)
endforeach()
e2eft_test(tr_footprint_test LINK trainer LABELS notasan TIMEOUT 300)
# these run the program: $E2EFT
foreach(name bench golden validate store_normals export invariance resume modes nonfinite badinput bf16 synth predict predict_golden report)
  e2eft_test(tr_${name}_test LINK base PkgConfig::JANSSON TIMEOUT 600)
  add_dependencies(tr_${name}_test e2eft)
endforeach()
set_tests_properties(tr_predict_golden_test PROPERTIES LABELS "golden;notasan")
# interrupted at 100 random moments and more: E2EFT_INTERRUPTIONS=N
e2eft_test(tr_crash_test LINK checkpoints base PkgConfig::JANSSON LABELS slow notasan TIMEOUT 1200)
add_dependencies(tr_crash_test e2eft)
# trainings that no golden file covers, beside the same steps in diffusers
e2eft_peer_test(tr_peer)
# single files, beside the converter of diffusers
e2eft_peer_test(tr_import_peer)
# TensorBoard itself reads what a run wrote
e2eft_peer_test(tr_board_peer)
e2eft_test(tr_preflight_test LINK datasets PkgConfig::JANSSON LABELS fast notasan TIMEOUT 300)
e2eft_test(tr_damaged_test LINK base PkgConfig::JANSSON TIMEOUT 300)
add_dependencies(tr_preflight_test e2eft)
add_dependencies(tr_damaged_test e2eft)
add_test(NAME own_images COMMAND "${CMAKE_CURRENT_LIST_DIR}/own_images.sh" $<TARGET_FILE:e2eft> "${CMAKE_SOURCE_DIR}")
set_tests_properties(own_images PROPERTIES LABELS fast TIMEOUT 120 ENVIRONMENT OMP_NUM_THREADS=1)
# what runs leave behind, in diffusers' own pipelines
add_executable(tr_forward_tool tr_forward_tool.c)
target_compile_options(tr_forward_tool PRIVATE ${E2EFT_C_WARNINGS})
target_link_libraries(tr_forward_tool PRIVATE trainer)
set_target_properties(tr_forward_tool PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
e2eft_peer_test(tr_export_peer)
e2eft_test(tr_prepare_test LINK base PkgConfig::JANSSON LABELS fast notasan TIMEOUT 600)
add_dependencies(tr_prepare_test e2eft)
# the trainer as on a GPU, its kernels by the emulation of losses.cmake
e2eft_test(tr_emulated_test LINK trainer kernels_on_cpu TIMEOUT 400)
# the demonstration: minutes, and by the clock, so alone
add_test(NAME quickstart COMMAND "${CMAKE_CURRENT_LIST_DIR}/quickstart.sh" "${CMAKE_SOURCE_DIR}")
set_tests_properties(quickstart PROPERTIES LABELS "slow;notasan" TIMEOUT 1200 RUN_SERIAL TRUE)
