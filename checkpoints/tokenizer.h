/* checkpoints/tokenizer.h: a CLIP tokenizer without merges, for checkpoints that bring none. */
#ifndef CHECKPOINTS_TOKENIZER_H
#define CHECKPOINTS_TOKENIZER_H
#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
enum { CK_CLIP_VOCAB = 49408 };
/* vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json in dir. CLIP's 512 letters and its two marks have
 * their own ids (49406 and 49407), so that the empty prompt, which is all that depth and normals need, is right; longer
 * texts come out letter by letter, because the 48894 merged words are missing. pad: the token that fills up to 77, "!" in
 * SD 2.x, "<|endoftext|>" in 1.x. Errors: E_DISK, E_IO, E_NOMEM. */
int ck_tokenizer_write(const char *dir, const char *pad);
#ifdef __cplusplus
}
#endif
#endif
