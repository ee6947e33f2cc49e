"""A small renderer of textured shapes in motion, with exact masks, flow and tracks.

Every layer, the background first, is a star-convex shape with a noise texture that a similarity
transform per frame carries from its own coordinates to the frame's, (x, y) in px.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SIZE = (180, 320)  # H, W in px
MARGIN = 256  # px of background texture around the frame


@dataclass(frozen=True)
class Layer:
    """A textured shape, or the background where `outline` is None, and its motion."""

    texture: np.ndarray  # (S, S, 3) float32 in 0..255, its centre at the layer's origin
    outline: np.ndarray | None  # Fourier coefficients (n, 2) of the radius over the angle, in px
    motion: np.ndarray  # (T, 2, 3) from layer to frame coordinates

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Distance in px (N,) along the ray from the origin to the outline; positive inside."""
        if self.outline is None:
            return np.full(points.shape[1], np.inf)
        angle = np.arctan2(points[1], points[0])
        order = np.arange(len(self.outline))[:, None] * angle
        cosine, sine = self.outline[:, :1], self.outline[:, 1:]
        radius = (cosine * np.cos(order) + sine * np.sin(order)).sum(0)
        return radius - np.hypot(*points)


@dataclass(frozen=True)
class Scene:
    """Layers from back to front; layer i has the object id i."""

    layers: tuple[Layer, ...]

    @property
    def length(self) -> int:
        """Number of frames T."""
        return len(self.layers[0].motion)

    def frame(self, t: int) -> np.ndarray:
        """Render frame t as RGB (H, W, 3) uint8, edges anti-aliased over a pixel."""
        points = _grid()
        image = np.zeros((*SIZE, 3), np.float32)
        for layer in self.layers:
            own = apply(invert(layer.motion[t]), points)  # (2, HW)
            alpha = np.clip(layer.inside(own) + 0.5, 0, 1).reshape(*SIZE, 1)
            centre = (layer.texture.shape[0] - 1) / 2
            x, y = (own + centre).astype(np.float32).reshape(2, *SIZE)
            colour = cv2.remap(layer.texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            image += alpha.astype(np.float32) * (colour - image)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def mask(self, t: int) -> np.ndarray:
        """Object ids (H, W) uint8 of frame t, 0 the background."""
        return self.ids(t, _grid()).reshape(SIZE).astype(np.uint8)

    def ids(self, t: int, points: np.ndarray) -> np.ndarray:
        """The front-most object (N,) at points (2, N) of frame t."""
        ids = np.zeros(points.shape[1], int)
        for index, layer in enumerate(self.layers):
            ids[layer.inside(apply(invert(layer.motion[t]), points)) > 0] = index
        return ids

    def flow(self, t: int, gap: int) -> np.ndarray:
        """Exact flow (2, H, W) float32 in px from frame t to frame t + gap."""
        points = _grid()
        moved = self._carry(self.ids(t, points), points, t, t + gap)
        return (moved - points).reshape(2, *SIZE).astype(np.float32)

    def tracks(self, t: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Exact tracks of points (2, N) of frame t through all frames.

        Returns:
            positions (T, 2, N) in px and visibility (T, N): in the frame and not behind an object.
        """
        ids = self.ids(t, points)
        positions = np.stack([self._carry(ids, points, t, s) for s in range(self.length)])
        limit = np.array(SIZE[::-1])[:, None] - 1
        inside = ((positions >= 0) & (positions <= limit)).all(1)
        front = np.stack([self.ids(s, positions[s]) == ids for s in range(self.length)])
        return positions, inside & front

    def _carry(self, ids: np.ndarray, points: np.ndarray, t: int, s: int) -> np.ndarray:
        """Where points (2, N) of frame t, on objects `ids`, are in frame s."""
        moved = np.empty(points.shape)
        for index in np.unique(ids):
            motion, on = self.layers[index].motion, ids == index
            moved[:, on] = apply(motion[s], apply(invert(motion[t]), points[:, on]))
        return moved


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a (2, 3) affine transform to points (2, N)."""
    return transform[:, :2] @ points + transform[:, 2:]


def invert(transform: np.ndarray) -> np.ndarray:
    """Invert a (2, 3) affine transform."""
    inverse = np.linalg.inv(transform[:, :2])
    return np.concatenate([inverse, -inverse @ transform[:, 2:]], 1)


def similarity(x, y, angle, scale) -> np.ndarray:
    """Transforms (T, 2, 3) that scale, rotate by `angle` in radians and move to (x, y)."""
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.stack([np.stack([cosine, -sine, x], -1), np.stack([sine, cosine, y], -1)], -2)


def noise_texture(rng: np.random.Generator, size: int, colours: np.ndarray) -> np.ndarray:
    """A cloudy texture (size, size, 3): octaves of noise blended between `colours` (n, 3)."""
    total = np.zeros((size, size))
    for octave in range(2, 7):
        coarse = rng.standard_normal((2**octave, 2**octave))
        total += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) / octave
    rank = (total - total.min()) / np.ptp(total) * (len(colours) - 1)
    channels = [np.interp(rank, np.arange(len(colours)), colours[:, c]) for c in range(3)]
    grain = 10 * rng.standard_normal((size, size, 1))
    fine = cv2.GaussianBlur(grain, (0, 0), 0.8)[..., None]
    return (np.stack(channels, -1) + 2 * fine).astype(np.float32)


def _grid() -> np.ndarray:
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([xs.ravel(), ys.ravel()]).astype(np.float64)  # (2, HW)
