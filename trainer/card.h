/* trainer/card.h: README.md of an exported model: what it is, where it comes from, how to load it, what was measured. */
#ifndef TRAINER_CARD_H
#define TRAINER_CARD_H
#include "configs/config.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_card {
  const cf_config *config;
  const char *config_text;       /* merged config, YAML */
  const char *config_hash, *base_hash;
  const char *run_dir;           /* for metrics.jsonl and validation/; NULL: unknown */
  int64_t step;
  bool folded, ema, flip_x, f32, f16;
  bool checked;                  /* the two below were measured */
  double difference, text_difference;
} tr_card;
/* Writes DIR/README.md and copies pictures of the run's validation into DIR/pictures. Errors: E_DISK, E_IO, E_NOMEM. */
int tr_card_write(const tr_card *c, const char *dir);
#ifdef __cplusplus
}
#endif
#endif
