"""The stability of a foreground: of masks that follow their points, come and go, or jump."""

import numpy as np
import pytest

from lrtl.stability import stability

SIZE, LENGTH, GAP = (30, 60), 12, 4


def points_of(frame):
    """Points on a grid that all move a pixel to the right in a frame, seen while inside."""
    y, x = (axis.ravel() for axis in np.mgrid[: SIZE[0] : 2, : SIZE[1] : 2])
    back = np.arange(min(GAP, frame) + 1)[:, None]
    pixels = np.stack([x - back, np.broadcast_to(y, (len(back), len(y)))], 1)  # (n, 2, N)
    return pixels, pixels[:, 0] >= 0


def square(at):
    mask = np.zeros(SIZE, bool)
    mask[10:20, at : at + 10] = True
    return mask


def test_a_foreground_that_moves_with_its_points_is_steady():
    assert stability((square(5 + t) for t in range(LENGTH)), points_of, GAP) == 1


def test_one_that_comes_and_goes_or_jumps_is_not():
    empty = np.zeros(SIZE, bool)
    goes = [square(5 + t) if t // GAP % 2 else empty for t in range(2 * GAP)]
    assert stability(goes, points_of, GAP) == 0
    jumps = [square(t + 20 * (t // GAP % 2)) for t in range(2 * GAP)]
    assert stability(jumps, points_of, GAP) < 0.5


def test_it_is_the_intersection_over_union_of_points():
    rng = np.random.default_rng(0)
    masks = [rng.random(SIZE) < 0.4 for _ in range(LENGTH)]
    inter = union = 0
    for t in range(1, LENGTH):
        back = min(GAP, t)
        for y in range(0, SIZE[0], 2):
            for x in range(0, SIZE[1], 2):
                if x >= back:
                    pair = masks[t][y, x], masks[t - back][y, x - back]
                    inter, union = inter + all(pair), union + any(pair)
    assert stability(masks, points_of, GAP) == pytest.approx(inter / union)


def test_no_foreground_has_no_stability():
    assert stability([np.zeros(SIZE, bool)] * LENGTH, points_of, GAP) is None
    assert stability([square(0)], points_of, GAP) is None
