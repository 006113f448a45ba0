foreach(name err half rng io log npy safetensors)
  e2eft_test(base_${name}_test LINK base)
endforeach()
