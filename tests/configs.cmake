foreach(t cf_errors_test cf_load_test cf_print_test cf_presets_test)
  e2eft_test(${t} LINK configs base)
endforeach()
