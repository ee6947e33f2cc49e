"""The colours of flow beside the published procedure, followed step by step."""

import colorsys
import math

import numpy as np
import pytest

from lrtl.figures.wheel import flow_colours, wheel


def published_wheel():
    """The 55 colours of Baker et al.'s code: six runs between neighbouring corners of the cube."""
    runs = [(15, "R", "G", 1), (6, "G", "R", -1), (4, "G", "B", 1)]
    runs += [(11, "B", "G", -1), (13, "B", "R", 1), (6, "R", "B", -1)]
    colours = []
    for length, full, moving, sign in runs:
        for i in range(length):
            value = math.floor(255 * i / length)
            channels = {"R": 0, "G": 0, "B": 0}
            channels[full] = 255
            channels[moving] = value if sign > 0 else 255 - value
            colours.append([channels[c] for c in "RGB"])
    assert len(colours) == 55
    return np.array(colours) / 255


def published_colour(x, y):
    """The colour of one displacement in radii, as published."""
    colours, radius = published_wheel(), math.hypot(x, y)
    place = (math.atan2(-y, -x) / math.pi + 1) / 2 * 54
    low = math.floor(place)
    share = place - low
    hue = (1 - share) * colours[low] + share * colours[(low + 1) % 55]
    return 255 * (1 - radius * (1 - hue) if radius <= 1 else 0.75 * hue)


def colour_of(x, y, radius=1.0):
    return flow_colours(np.array([[[x]], [[y]]], np.float32), radius)[0, 0]


def test_colours_are_the_published_ones():
    rng = np.random.default_rng(0)
    flow = rng.uniform(-1.2, 1.2, (2, 20, 30))
    flow[:, 0, 0] = 1, 0
    expected = [[published_colour(*flow[:, i, j]) for j in range(30)] for i in range(20)]
    found = flow_colours(7 * flow, 7)  # in px, of a radius in px
    assert found.dtype == np.uint8
    assert np.abs(found - np.array(expected)).max() <= 1.5  # the table itself is rounded down


def test_directions_have_their_hues():
    red, yellow, cyan, violet = (
        colour_of(x, y).astype(int) for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1))
    )
    assert red.tolist() == [255, 0, 0]
    assert yellow[0] == 255 and yellow[1] > 200 and yellow[2] == 0
    assert cyan[0] == 0 and cyan[1] > 150 and cyan[2] == 255
    assert 0 < violet[0] < 150 and violet[1] == 0 and violet[2] == 255


def test_hue_turns_once_with_the_direction():
    angles = np.linspace(0.01, 2 * np.pi - 0.2, 60)
    hues = [colorsys.rgb_to_hsv(*colour_of(np.cos(a), np.sin(a)) / 255)[0] for a in angles]
    assert (np.diff(hues) > 0).all() and hues[0] < 0.02 and hues[-1] > 0.9


@pytest.mark.parametrize("angle", [0.3, 1.7, 3.1, 5.0])
def test_saturation_is_the_length(angle):
    unit = np.array([np.cos(angle), np.sin(angle)])
    assert colour_of(0, 0).tolist() == [255, 255, 255]
    for length in (0.25, 0.5, 1.0):
        _, saturation, value = colorsys.rgb_to_hsv(*colour_of(*(5 * length * unit), 5) / 255)
        assert value == 1
        assert saturation == pytest.approx(length, abs=0.01)
    beyond = colour_of(*(6 * unit), 5)
    assert beyond.max() == 191  # three quarters as bright
    assert np.abs(beyond - 0.75 * colour_of(*(5 * unit), 5)).max() <= 1


def test_the_wheel_shows_each_displacement_at_its_tip():
    disc = wheel(41)
    assert disc.shape == (41, 41, 3)
    assert (disc[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert (disc[20, 20] == 255).all()
    assert np.abs(disc[20, 40] - np.array([255.0, 0, 0])).max() < 15
    assert disc[40, 20, 2] < 15 and disc[40, 20, :2].min() > 200  # yellow below
