"""Grids of query points: the tracks themselves, and points tracked along to support them."""

import numpy as np


def query_grid(size: tuple[int, int], stride: int, frame: int) -> np.ndarray:
    """Query points (2, N) in px of a frame: a grid whose offset cycles, x fastest, with the frame.

    The cycle has stride^2 offsets, so the grids of as many frames cover every pixel once.
    """
    cycle = frame % stride**2
    ys, xs = np.mgrid[cycle // stride : size[0] : stride, cycle % stride : size[1] : stride]
    return np.stack([xs.ravel(), ys.ravel()]).astype(np.float32)


def sparse_grid(size: tuple[int, int]) -> np.ndarray:
    """Auxiliary points (2, N) in px: a stride of 32, as the paper has it (`paper`)."""
    return query_grid(size, 32, 0)


def released_grid(size: tuple[int, int]) -> np.ndarray:
    """Auxiliary points (2, 1024) in px: 32 x 32 from border to border (`released`)."""
    height, width = size
    xs, ys = np.meshgrid(np.linspace(0, width - 1, 32), np.linspace(0, height - 1, 32))
    return np.stack([xs.ravel(), ys.ravel()]).astype(np.float32)


def empty_grid(size: tuple[int, int]) -> np.ndarray:
    """No auxiliary points (2, 0) (`none`)."""
    return np.empty((2, 0), np.float32)


AUXILIARY = {"paper": sparse_grid, "released": released_grid, "none": empty_grid}
