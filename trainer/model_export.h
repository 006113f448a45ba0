/* trainer/model_export.h: the weights folder that a run ends with. */
#ifndef TRAINER_MODEL_EXPORT_H
#define TRAINER_MODEL_EXPORT_H
#include "checkpoints/state.h"
#include "trainer/network.h"
#ifdef __cplusplus
extern "C" {
#endif
/* RUN_DIR/model from the state's weights and layout: the base's folder with this U-Net. Errors: those of ck_export_model. */
int tr_model_export(const cf_config *c, const tr_network *net, const ck_state *s, const char *run_dir);
#ifdef __cplusplus
}
#endif
#endif
