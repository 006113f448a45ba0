# kernels and losses
foreach(name kn_affine_l1_test kn_angular_test)
  e2eft_test(${name} LINK kernels LABELS golden)
endforeach()
e2eft_test(kn_adamw_test LINK kernels)
e2eft_test(ls_loss_test LINK losses LABELS golden)
