"""Exact trajectories of the pixels of a video of rigid objects, from depth, poses and the camera.

Kubric's conventions: the camera looks along its -z with +y up, quaternions are (w, x, y, z), depth
is the distance to the camera's centre and instance i has the id i + 1, 0 the background.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

NEAR = 1e-3  # of its distance: a point nearer to the camera's plane, or behind it, is put there
TOLERANCE = 1e-3  # of its distance, by which a visible point may lie behind the depth around it


@dataclass(frozen=True)
class RigidVideo:
    """A video of I rigid instances over a static background, T frames of H x W px."""

    name: str
    video: np.ndarray  # (T, H, W, 3) uint8, RGB
    segmentations: np.ndarray  # (T, H, W) uint8, instance index + 1
    depth: np.ndarray  # (T, H, W) float32
    focal_length: float  # in the unit of `sensor_width`
    sensor_width: float
    camera_positions: np.ndarray  # (T, 3)
    camera_quaternions: np.ndarray  # (T, 4)
    positions: np.ndarray  # (I, T, 3)
    quaternions: np.ndarray  # (I, T, 4)
    offset: float = 0.0  # px in x and y from a pixel's centre to where its depth was taken

    @property
    def size(self) -> tuple[int, int]:
        """H and W in px."""
        return self.depth.shape[1:]


def trajectories(
    video: RigidVideo, frame: int, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Follow what pixels of a frame show through all T frames, hidden or not.

    Args:
        frame: the frame the pixels are of.
        pixels: (N,) indices y W + x.

    Returns:
        positions (T, 2, N) float64, (x, y) in px, pixel centres at integers, and visibility (T, N):
        in the frame, in front of the camera, and nothing before it.
    """
    positions, distance, ahead = _carry(video, frame, pixels, np.arange(len(video.depth)))
    ids = video.segmentations[frame].ravel()[pixels]
    return positions, ahead & _in_front(video, positions, distance, ids)


def flow(video: RigidVideo, frame: int, gap: int) -> np.ndarray:
    """Exact flow (2, H, W), (x, y) in px, from a frame to that `gap` frames later or earlier."""
    height, width = video.size
    here_and_there = np.array([frame, frame + gap])
    positions, _, _ = _carry(video, frame, np.arange(height * width), here_and_there)
    return (positions[1] - positions[0]).reshape(2, height, width)


def unproject(video: RigidVideo, frame: int, points: np.ndarray, distance: np.ndarray):
    """World points (3, N) of a frame's points (2, N) in px, `distance` (N,) from its camera."""
    height, width = video.size
    focal = video.focal_length / video.sensor_width * width
    x = (points[0] - (width - 1) / 2) / focal
    y = ((height - 1) / 2 - points[1]) / focal
    rays = np.stack([x, y, -np.ones_like(x)])  # (3, N)
    rays *= distance / np.linalg.norm(rays, axis=0)
    return (
        _rotation(video.camera_quaternions[frame]) @ rays + video.camera_positions[frame, :, None]
    )


def project(video: RigidVideo, frames: np.ndarray, world: np.ndarray):
    """Project points (S, 3, N) of the world into S frames.

    Returns:
        positions (S, 2, N) in px, distances (S, N) to the camera, whether it looks towards them
        (S, N).
    """
    height, width = video.size
    turned = _rotation(video.camera_quaternions[frames]).swapaxes(-1, -2)  # (S, 3, 3)
    local = turned @ (world - video.camera_positions[frames, :, None])  # (S, 3, N)
    distance = np.linalg.norm(local, axis=1)  # (S, N)
    ahead = -local[:, 2] > NEAR * distance
    scale = (
        video.focal_length / video.sensor_width * width / np.maximum(-local[:, 2], NEAR * distance)
    )
    x, y = local[:, 0] * scale + (width - 1) / 2, (height - 1) / 2 - local[:, 1] * scale
    return np.stack([x, y], 1), distance, ahead


def _carry(video: RigidVideo, frame: int, pixels: np.ndarray, frames: np.ndarray):
    """`project` of what pixels (N,) of a frame show, into other frames (S,)."""
    y, x = np.divmod(pixels, video.size[1])
    points = np.stack([x, y]) + video.offset  # (2, N)
    world = unproject(video, frame, points, video.depth[frame].ravel()[pixels].astype(np.float64))
    moved = np.repeat(world[None], len(frames), 0)  # (S, 3, N)
    ids = video.segmentations[frame].ravel()[pixels]
    for index in np.unique(ids[ids > 0]) - 1:
        centre, turn = video.positions[index], _rotation(video.quaternions[index])
        own = turn[frame].T @ (world[:, ids == index + 1] - centre[frame, :, None])  # (3, n)
        moved[..., ids == index + 1] = turn[frames] @ own + centre[frames, :, None]
    return project(video, frames, moved)


def _in_front(video: RigidVideo, positions, distance, ids: np.ndarray) -> np.ndarray:
    """Whether points (T, 2, N) are in the frame, on pixels of their ids (N,), not behind them.

    The depth of a pixel is the largest of those around it with its id, so that a slope between
    samples hides nothing.
    """
    height, width = video.size
    x, y = (
        np.rint(np.clip(positions - video.offset, -9, 9 + max(width, height)))
        .astype(int)
        .swapaxes(0, 1)
    )
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    t, x, y = np.arange(len(x))[:, None], x.clip(0, width - 1), y.clip(0, height - 1)
    same = video.segmentations[t, y, x] == ids
    return inside & same & (distance <= _farthest(video)[t, y, x] * (1 + TOLERANCE))


def _farthest(video: RigidVideo) -> np.ndarray:
    """The largest depth (T, H, W) in the 3 x 3 px around each pixel that have its id."""
    around = np.pad(video.depth, ((0, 0), (1, 1), (1, 1)), "edge")
    named = np.pad(video.segmentations, ((0, 0), (1, 1), (1, 1)), "edge")
    height, width = video.size
    result = video.depth
    for y in range(3):
        for x in range(3):
            cut = np.s_[:, y : y + height, x : x + width]
            same = named[cut] == video.segmentations
            result = np.where(same, np.maximum(result, around[cut]), result)
    return result


def _rotation(quaternions: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4)."""
    return Rotation.from_quat(quaternions, scalar_first=True).as_matrix()
