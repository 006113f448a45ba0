/* Source of the letters and their order: openai/CLIP simple_tokenizer.py, bytes_to_unicode. */
#include "checkpoints/tokenizer.h"

#include <jansson.h>
#include <string.h>

#include "base/io.h"
#include "checkpoints/pyjson.h"

static const char start_mark[] = "<|startoftext|>", end_mark[] = "<|endoftext|>";

/* UTF-8 of a code point below 0x800; n: bytes. */
static int utf8(int code, char out[3]) {
  if (code < 0x80) return out[0] = (char)code, 1;
  out[0] = (char)(0xc0 | code >> 6);
  out[1] = (char)(0x80 | (code & 0x3f));
  return 2;
}

static bool printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

static int add_letter(json_t *vocab, int code, int id) {
  char name[16];
  const int n = utf8(code, name);

  name[n] = 0;
  if (json_object_set_new(vocab, name, json_integer(id))) return E_NOMEM;
  strcpy(name + n, "</w>");
  return json_object_set_new(vocab, name, json_integer(256 + id)) ? E_NOMEM : OK;
}

/* Printable bytes stand for themselves, in order; the others follow as code points from 256 on. */
static int make_vocab(json_t *vocab) {
  int st = OK, id = 0, next = 256;

  for (int byte = 0; byte < 256; byte++)
    if (printable(byte)) TRY(add_letter(vocab, byte, id++));
  for (int byte = 0; byte < 256; byte++)
    if (!printable(byte)) TRY(add_letter(vocab, next++, id++));
  NEED(!json_object_set_new(vocab, start_mark, json_integer(CK_CLIP_VOCAB - 2)) &&
           !json_object_set_new(vocab, end_mark, json_integer(CK_CLIP_VOCAB - 1)), E_NOMEM, "vocab.json");
out:
  return st;
}

int ck_tokenizer_write(const char *dir, const char *pad) {
  int st = OK;
  static const char merges[] = "#version: 0.2\n";
  char path[IO_PATH_MAX];
  json_t *vocab = json_object();
  json_t *special = json_pack("{s:s, s:s, s:s, s:s}", "bos_token", start_mark, "eos_token", end_mark, "unk_token", end_mark,
                              "pad_token", pad);
  json_t *config = json_pack("{s:b, s:s, s:s, s:s, s:s, s:b, s:s, s:i, s:s}", "add_prefix_space", 0, "bos_token", start_mark,
                             "eos_token", end_mark, "unk_token", end_mark, "pad_token", pad, "do_lower_case", 1, "errors",
                             "replace", "model_max_length", 77, "tokenizer_class", "CLIPTokenizer");

  NEED(vocab, E_NOMEM, "vocab.json");
  TRY(make_vocab(vocab));
  TRY(io_make_dirs(dir));
  TRY(ck_pyjson_write_in(dir, "vocab.json", vocab));
  TRY(ck_pyjson_write_in(dir, "special_tokens_map.json", special));
  TRY(ck_pyjson_write_in(dir, "tokenizer_config.json", config));
  TRY(io_path(path, "%s/merges.txt", dir));
  TRY(io_write_file(path, merges, strlen(merges)));
out:
  json_decref(vocab);
  json_decref(special);
  json_decref(config);
  return st;
}
