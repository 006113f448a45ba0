/* trainer/commands.h: the commands of the program; each is one file cmd_NAME.c. */
#ifndef TRAINER_COMMANDS_H
#define TRAINER_COMMANDS_H
#include "trainer/cli.h"
#ifdef __cplusplus
extern "C" {
#endif
extern const cli_command tr_train_command;
extern const cli_command tr_prepare_command;
extern const cli_command tr_inspect_command;
extern const cli_command tr_synth_command;
extern const cli_command tr_predict_command;
extern const cli_command tr_eval_command;
extern const cli_command tr_report_command;
extern const cli_command tr_export_command;
extern const cli_command tr_bench_command;
extern const cli_command tr_import_command;
#ifdef __cplusplus
}
#endif
#endif
