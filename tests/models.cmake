foreach(name md_unet_test)
  e2eft_test(${name} LINK models LABELS golden)
endforeach()
