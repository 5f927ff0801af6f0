"""Overlays show every pixel for what it is."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from counterpoise.report.images import (
    AGREEMENT,
    CLASS_PALETTE,
    LONGEST_SIDE,
    ClassColour,
    agreement_overlay,
    choose_patches,
    class_colours,
    class_overlay,
    fitting_step,
    grey_png,
)
from counterpoise.runs.npz import Examples


def pixels(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))


def test_a_grey_image_survives() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (pixels(grey_png(image))[..., 0] == image).all()


def test_classes_are_tinted_with_a_solid_outline() -> None:
    masks = np.zeros((1, 9, 9), bool)
    masks[0, 2:7, 2:7] = True
    (colour,) = class_colours(["a"], [25])
    drawn = pixels(class_overlay(masks, [colour], np.zeros((9, 9), bool)))
    assert tuple(drawn[4, 4, :3]) == CLASS_PALETTE[0]
    assert 0 < drawn[4, 4, 3] < 255
    assert tuple(drawn[2, 4]) == (*CLASS_PALETTE[0], 255)
    assert drawn[0, 0, 3] == 0


def test_a_small_class_lies_over_a_large_one() -> None:
    masks = np.ones((2, 9, 9), bool)
    masks[0] = False
    masks[0, 3:6, 3:6] = True
    colours = class_colours(["small", "large"], [9, 81])
    assert [c.name for c in colours] == ["large", "small"]
    drawn = pixels(class_overlay(masks, colours, np.zeros((9, 9), bool)))
    assert tuple(drawn[4, 4, :3]) == CLASS_PALETTE[0]
    assert tuple(drawn[0, 0, :3]) == CLASS_PALETTE[1]


def test_fourteen_classes_all_look_different() -> None:
    colours = class_colours([f"class_{i}" for i in range(14)], [9] * 14)
    assert len({(c.colour, c.texture) for c in colours}) == 14
    assert [c.texture for c in colours] == [0] * 7 + [1] * 7


def test_textures_tell_classes_of_one_colour_apart() -> None:
    mask, known = np.ones((1, 35, 35), bool), np.zeros((35, 35), bool)
    plain, striped, dotted = (
        pixels(class_overlay(mask, [ClassColour(0, "a", CLASS_PALETTE[0], texture)], known)) for texture in range(3)
    )
    for drawn in (plain, striped, dotted):
        assert {tuple(p) for p in drawn[..., :3].reshape(-1, 3).tolist()} == {CLASS_PALETTE[0]}
    assert len(np.unique(plain[..., 3])) == 1
    strong = striped[..., 3].max()
    # Three of seven diagonals are strong: 15 of 35 pixels in every row, and in every column.
    assert ((striped[..., 3] == strong).sum(0) == 15).all()
    assert ((striped[..., 3] == strong).sum(1) == 15).all()
    # Two of five rows and columns: 14 x 14 pixels.
    assert (dotted[..., 3] == dotted[..., 3].max()).sum() == 14 * 14


def test_classes_that_never_occur_have_no_colour() -> None:
    assert [c.name for c in class_colours(["a", "b", "c"], [0, 5, 0])] == ["b"]


def test_unknown_area_is_dimmed_and_hatched() -> None:
    unknown = np.ones((16, 16), bool)
    drawn = pixels(class_overlay(np.zeros((1, 16, 16), bool), [], unknown))
    assert {tuple(p) for p in drawn.reshape(-1, 4).tolist()} == {(0, 0, 0, 130), (255, 255, 255, 110)}


def test_agreement_tells_right_from_wrong_from_unknown() -> None:
    # One row per case: right, too much, missed, one class for another, right absence, unknown.
    truth = np.array([[[1], [0], [1], [1], [0], [255]], [[0], [0], [0], [0], [0], [255]]], np.uint8)
    predicted = np.array([[[1], [1], [0], [0], [0], [1]], [[0], [0], [0], [1], [0], [1]]], bool)
    drawn = pixels(agreement_overlay(truth, predicted))[:, 0]
    assert [tuple(p) for p in drawn[:4, :3].tolist()] == list(AGREEMENT.values())
    assert drawn[4, 3] == 0
    assert tuple(drawn[5]) in {(0, 0, 0, 130), (255, 255, 255, 110)}


def test_a_class_that_is_not_annotated_cannot_be_wrong() -> None:
    truth = np.array([[[0]], [[255]]], np.uint8)
    predicted = np.array([[[0]], [[1]]], bool)
    assert pixels(agreement_overlay(truth, predicted))[0, 0, 3] == 0


def examples(truth: np.ndarray) -> Examples:
    raw = np.zeros((len(truth), *truth.shape[2:]), np.uint8)
    crops, classes = tuple("abcdef"[: len(truth)]), ("x", "y")
    return Examples(crops, classes, raw, truth, np.zeros_like(truth))


def test_patches_with_most_classes_are_chosen_in_their_order() -> None:
    truth = np.zeros((4, 2, 3, 3), np.uint8)
    truth[1, 0] = 1
    truth[3] = 1
    assert choose_patches(examples(truth), 2) == (1, 3)
    assert choose_patches(examples(truth), 9) == (0, 1, 2, 3)


def test_large_patches_are_thinned_to_fit() -> None:
    sides = (8, LONGEST_SIDE, LONGEST_SIDE + 1, 2 * LONGEST_SIDE, 3 * LONGEST_SIDE)
    steps = [fitting_step(examples(np.zeros((1, 2, side, 8), np.uint8))) for side in sides]
    assert steps == [1, 1, 2, 2, 3]
