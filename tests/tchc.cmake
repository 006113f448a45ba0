e2eft_test(tchc_handle_test LINK tchc)
e2eft_test(tchc_tensor_test LINK tchc)
e2eft_test(tchc_ops_test LINK tchc)
