"""Flow as colours: the wheel of Baker et al. (IJCV 2011), which Middlebury and RAFT use."""

import numpy as np

# Red, yellow, green, cyan, blue, magenta and red again, at their places among the 55 colours.
CORNERS = (0, 15, 21, 25, 36, 49, 55)
HUES = np.array([(1, 1, 0, 0, 0, 1, 1), (0, 1, 1, 1, 0, 0, 0), (0, 0, 0, 1, 1, 1, 0)])
LAST = 54  # the place of the last colour, one turn after the first
BEYOND = 0.75  # brightness of displacements longer than the radius


def flow_colours(flow: np.ndarray, radius: float) -> np.ndarray:
    """Colours (H, W, 3) uint8 of a flow (2, H, W): direction is hue, length is saturation.

    No motion is white, a displacement of `radius` px has its full hue, a longer one is darker.
    Rightwards is red, downwards yellow, leftwards cyan to blue, upwards violet.
    """
    x, y = flow
    place = (np.arctan2(-y, -x) / np.pi + 1) / 2 * LAST  # (H, W)
    hues = np.stack([np.interp(place, CORNERS, channel) for channel in HUES], -1)  # (H, W, 3)
    length = np.hypot(x, y)[..., None] / radius
    colours = np.where(length <= 1, 1 - length * (1 - hues), BEYOND * hues)
    return (255 * colours).round().astype(np.uint8)


def wheel(size: int) -> np.ndarray:
    """The wheel (size, size, 3) as a legend: the colour of a displacement at its tip, on white."""
    tip = (np.arange(size) + 0.5) / size * 2 - 1
    disc = np.stack(np.meshgrid(tip, tip))  # (2, size, size)
    colours = flow_colours(disc, 1)
    colours[np.hypot(*disc) > 1] = 255
    return colours
