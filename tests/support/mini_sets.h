/* tests/support/mini_sets.h: the published evaluation sets in small, made of tests/data/synth in each set's own layout, as
 * a folder and, for depth, as the tar archive, with predictions that are off by known amounts. Every number is a function
 * of the frames and of fixed random streams: tests/data/eval/peer_numbers.json holds what Marigold's and DSINE's own
 * code measured on them (make_peer_numbers.py beside it).
 *   DIR/SET/...            the folder, with the published list
 *   DIR/tar/SET.tar        the archive (depth)
 *   DIR/pred/SET/...       predictions, .npy under the names of Marigold's infer.py; normals under the image's */
#ifndef TESTS_SUPPORT_MINI_SETS_H
#define TESTS_SUPPORT_MINI_SETS_H
#ifdef __cplusplus
extern "C" {
#endif
enum { MINI_IMAGES = 3 };
/* NULL-ended names, as of ev_protocol. */
extern const char *const mini_depth_sets[], *const mini_normals_sets[];
/* Fails the test on errors. */
void mini_sets_make(const char *dir);
#ifdef __cplusplus
}
#endif
#endif
