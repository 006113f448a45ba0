e2eft_test(ds_mixer_test LINK datasets)
e2eft_test(ds_loader_test LINK datasets LABELS fast tsan)
e2eft_test(ds_loader_files_test LINK datasets LABELS fast tsan)

foreach(t ds_png_test ds_jpeg_test ds_h5_test ds_csv_test ds_quantile_test ds_resize_test ds_target_test ds_tonemap_test
          ds_batches_test ds_source_test ds_camera_test ds_filter_test)
  e2eft_test(${t} LINK datasets)
endforeach()
foreach(t ds_reference_test ds_hypersim_test ds_vkitti2_test ds_d2nt_test)
  e2eft_test(${t} LINK datasets LABELS golden)
endforeach()
e2eft_test(ds_colour_map_test LINK datasets)
e2eft_test(ds_sheet_test LINK datasets)
e2eft_test(ds_manifest_test LINK datasets)
e2eft_test(ds_synth_test LINK datasets)
# the rendered scenes' truth, worked out again in numpy
e2eft_peer_test(ds_synth_peer)
