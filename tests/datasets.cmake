e2eft_test(ds_mixer_test LINK datasets)
e2eft_test(ds_loader_test LINK datasets LABELS fast tsan)
