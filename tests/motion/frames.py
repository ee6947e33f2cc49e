"""Frames in memory that trackers are tried on, and points in them."""

import numpy as np

SIZE = (120, 160)
POINTS = np.array([[0, 30.5, 159], [0, 70.25, 119]], np.float32)


class Frames:
    """A sequence of arrays (H, W, 3)."""

    def __init__(self, images):
        self.images, self.frames = images, tuple(map(str, range(len(images))))

    def frame(self, index):
        return self.images[index]


def counted(frames: int) -> Frames:
    """A sequence of grey frames whose brightness is their number."""
    return Frames([np.full((*SIZE, 3), t, np.uint8) for t in range(frames)])
