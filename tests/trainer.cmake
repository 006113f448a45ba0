foreach(name cli noise pack metrics)
  e2eft_test(tr_${name}_test LINK trainer)
endforeach()
e2eft_test(tr_schedule_test LINK trainer LABELS golden)
# these run the program: $E2EFT
foreach(name golden invariance resume modes nonfinite badinput bf16 synth)
  e2eft_test(tr_${name}_test LINK base PkgConfig::JANSSON TIMEOUT 600)
  add_dependencies(tr_${name}_test e2eft)
endforeach()
# trainings that no golden file covers, beside the same steps in diffusers: skipped where its python has none
find_program(PEER_PYTHON NAMES python3 python HINTS "${LibTorch_LIB_DIR}/../../../../../bin" NO_CMAKE_PATH)
if(PEER_PYTHON)
  add_test(NAME tr_peer COMMAND "${PEER_PYTHON}" "${CMAKE_CURRENT_LIST_DIR}/tr_peer.py")
  set_tests_properties(tr_peer PROPERTIES LABELS "golden;notasan" TIMEOUT 600 SKIP_RETURN_CODE 77
                                          ENVIRONMENT "OMP_NUM_THREADS=1;E2EFT=$<TARGET_FILE:e2eft>")
endif()
