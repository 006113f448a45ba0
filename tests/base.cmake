foreach(name err half rng io npy safetensors sha256)
  e2eft_test(base_${name}_test LINK base)
endforeach()
e2eft_test(base_log_test LINK base LABELS fast tsan)
