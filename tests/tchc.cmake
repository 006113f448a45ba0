e2eft_test(tchc_handle_test LINK tchc)
