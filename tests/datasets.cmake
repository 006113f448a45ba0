e2eft_test(ds_mixer_test LINK datasets)
e2eft_test(ds_loader_test LINK datasets LABELS fast tsan)
e2eft_test(ds_loader_files_test LINK datasets LABELS fast tsan)

foreach(t ds_reference_test)
  e2eft_test(${t} LINK datasets LABELS golden)
endforeach()
e2eft_test(ds_synth_test LINK datasets)
