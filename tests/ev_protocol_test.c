/* The published layouts: which file is an image of a set, where its truth lies, what counts. */
#include <stdio.h>

#include "eval/protocol.h"
#include "tests/support/check.h"

typedef struct layout_case {
  const char *set, *rgb, *truth, *mask, *pred;
} layout_case;

/* From the published lists' first lines. pred NULL: under the image's own name. */
static const layout_case cases[] = {
    {"nyuv2", "test/kitchen_0004/rgb_0001.png", "test/kitchen_0004/depth_0001.png", "", "test/kitchen_0004/pred_0001"},
    {"kitti", "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png",
     "2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png", "",
     "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/pred_0000000069"},
    {"eth3d", "rgb/office/images/dslr_images/DSC_0219.JPG",
     "depth/office_dslr_depth/office/ground_truth_depth/dslr_images/DSC_0219.JPG", "",
     "rgb/office/images/dslr_images/pred_DSC_0219"},
    {"scannet", "scene0406_02/color/000300.jpg", "scene0406_02/depth/000300.png", "", "scene0406_02/color/pred_000300"},
    {"diode", "indoors/scene_00021/scan_00189/00021_00189_indoors_200_010.png",
     "indoors/scene_00021/scan_00189/00021_00189_indoors_200_010_depth.npy",
     "indoors/scene_00021/scan_00189/00021_00189_indoors_200_010_depth_mask.npy",
     "indoors/scene_00021/scan_00189/pred_00021_00189_indoors_200_010"},
    {"nyuv2_normals", "test/000000_img.png", "test/000000_normal", "", NULL},
    {"ibims", "ibims/corridor_01_img.png", "ibims/corridor_01_normal", "", NULL},
    {"sintel", "alley_1/frame_0001_img.png", "alley_1/frame_0001_normal", "", NULL},
    {"oasis", "val/100277_DT_img.png", "val/100277_DT_normal", "", NULL},
};

static void names_of_published_files(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const layout_case *c = &cases[i];
    const ev_protocol *p = ev_protocol_find(c->set, false);
    ev_names names;
    char pred[EV_NAME_MAX];
    assert_non_null(p);
    if (!p->names_of(c->rgb, &names)) fail_msg("%s: %s is no image", c->set, c->rgb);
    assert_string_equal(names.rgb, c->rgb);
    assert_string_equal(names.truth, c->truth);
    assert_string_equal(names.mask, c->mask);
    assert_int_equal(ev_protocol_pred_name(p, c->rgb, pred), c->pred != NULL);
    if (c->pred) assert_string_equal(pred, c->pred);
  }
}

static void other_files_are_no_images(void **state) {
  static const char *const names[][2] = {{"nyuv2", "test/kitchen_0004/depth_0001.png"},
                                         {"nyuv2", "train/kitchen_0004/rgb_0001.png"},
                                         {"nyuv2", "rgb_"},
                                         {"kitti", "2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png"},
                                         {"kitti", "a/image_02"},
                                         {"eth3d", "depth/office_dslr_depth/office/ground_truth_depth/dslr_images/D.JPG"},
                                         {"eth3d", "rgb/images/dslr_images/"},
                                         {"scannet", "scene0406_02/depth/000300.png"},
                                         {"scannet", "scene0406_02/color/x"},
                                         {"nyuv2_normals", "test/000000_normal.png"},
                                         {"nyuv2_normals", "test/000000_intrins.npy"},
                                         {"ibims", "._img"}};
  ev_names out;

  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (ev_protocol_find(names[i][0], false)->names_of(names[i][1], &out)) fail_msg("%s: %s", names[i][0], names[i][1]);
}

static void names_of_sets(void **state) {
  (void)state;
  assert_string_equal(ev_protocol_find("nyuv2", false)->name, "nyuv2");
  assert_string_equal(ev_protocol_find("nyuv2", true)->name, "nyuv2_normals");
  assert_string_equal(ev_protocol_find("ibims", false)->name, "ibims_normals");
  assert_string_equal(ev_protocol_find("kitti", true)->name, "kitti");
  assert_null(ev_protocol_find("nyu", false));
  for (size_t i = 0; ev_protocol_at(i); i++) assert_ptr_equal(ev_protocol_find(ev_protocol_at(i)->name, false), ev_protocol_at(i));
}

/* Eigen's box of the cropped KITTI image, and of an image that is smaller than NYUv2's. */
static void boxes(void **state) {
  ev_bounds b = ev_box_bounds(EV_BOX_EIGEN, 352, 1216);

  (void)state;
  assert_true(b.top == 117 && b.bottom == 321 && b.left == 43 && b.right == 1172);
  b = ev_box_bounds(EV_BOX_GARG, 352, 1216);
  assert_true(b.top == 143 && b.bottom == 349 && b.left == 43 && b.right == 1172);
  b = ev_box_bounds(EV_BOX_NYU, 480, 640);
  assert_true(b.top == 45 && b.bottom == 471 && b.left == 41 && b.right == 601);
  b = ev_box_bounds(EV_BOX_NYU, 20, 50);
  assert_true(b.top == 20 && b.bottom == 20 && b.left == 41 && b.right == 50);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(names_of_published_files), cmocka_unit_test(other_files_are_no_images),
                                     cmocka_unit_test(names_of_sets), cmocka_unit_test(boxes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
