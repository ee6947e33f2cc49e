"""Tracks as trails through a frame, coloured by time."""

import cv2
import numpy as np

CELLS = 20  # trails across a frame, at most
WIDTH, DOT = 2, 2  # px of a trail, and of the radius of the dot where it is in the frame
INK = (30, 30, 30)  # of the dots
MAP, BRIGHTEST = cv2.COLORMAP_PLASMA, 230  # of its 255 colours; the last ones fade on white
FRACTION = 4  # bits of a pixel's fraction that OpenCV draws with


def time_colours(reach: int) -> np.ndarray:
    """Colours (2 reach + 1, 3) uint8, RGB, from `reach` frames before, dark, to as many after."""
    steps = np.linspace(0, BRIGHTEST, 2 * reach + 1).round().astype(np.uint8)
    return cv2.applyColorMap(steps[:, None], MAP)[:, 0, ::-1]


def draw_trails(
    picture: np.ndarray,
    positions: np.ndarray,
    visibility: np.ndarray,
    offsets: np.ndarray,
    reach: int,
) -> None:
    """Draw some tracks that are visible in a frame, one for every cell of a grid, and their dots.

    A part between two frames is drawn where the track is visible in both, in the colour of the one
    that is further from the frame.

    Args:
        picture: (H, W, 3) uint8, RGB; changed in place.
        positions: (T, 2, N) in px of the picture, (x, y).
        visibility: (T, N) bool.
        offsets: (T,) frames from the picture's to each row's, rising; 0 is among them.
        reach: the largest offset that has a colour.
    """
    (now,) = np.flatnonzero(offsets == 0)
    tracks = np.flatnonzero(visibility[now])
    cells = (positions[now][:, tracks] * (CELLS / picture.shape[1])).astype(int)  # (2, n)
    tracks = tracks[np.unique(cells, axis=1, return_index=True)[1]]
    points = (positions[..., tracks] * 2**FRACTION).round().astype(np.int32)  # (T, 2, n)
    colours = time_colours(reach)[offsets + reach].tolist()
    for row in range(1, len(points)):
        seen = visibility[row - 1, tracks] & visibility[row, tracks]
        ends = points[row - 1 : row + 1, :, seen].transpose(2, 0, 1)  # (n, 2, 2)
        colour = colours[row if row > now else row - 1]
        cv2.polylines(picture, list(ends), False, colour, WIDTH, cv2.LINE_AA, FRACTION)
    for x, y in points[now].T.tolist():
        cv2.circle(picture, (x, y), DOT << FRACTION, INK, cv2.FILLED, cv2.LINE_AA, FRACTION)
