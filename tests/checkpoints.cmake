foreach(name state rundir export)
  e2eft_test(ck_${name}_test LINK checkpoints base)
endforeach()
