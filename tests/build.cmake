# Checks of the sources themselves, and of what is shipped.
function(e2eft_script_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "LABELS;ARGS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  add_test(NAME ${name} COMMAND bash "${CMAKE_CURRENT_LIST_DIR}/${name}.sh" ${A_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()

e2eft_script_test(layers LABELS fast notasan ARGS "${CMAKE_SOURCE_DIR}")
e2eft_script_test(house_style LABELS fast notasan ARGS "${CMAKE_SOURCE_DIR}")
e2eft_script_test(headers LABELS fast notasan ARGS "${CMAKE_SOURCE_DIR}" "${CMAKE_C_COMPILER}" "${CMAKE_CXX_COMPILER}")
e2eft_script_test(package LABELS fast notasan ARGS "${CMAKE_BINARY_DIR}" "${CMAKE_COMMAND}" "${LIBTORCH_ROOT}")
