e2eft_test(tr_schedule_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/tr_schedule_test.c ${CMAKE_SOURCE_DIR}/trainer/schedule.c
           LINK base LABELS golden)
