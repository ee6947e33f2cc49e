"""Textured boxes and ellipsoids for ray casting."""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Texture:
    """Colour over space: a sum of cosines blended through a palette."""

    waves: np.ndarray  # (n, 3) in radians per unit
    phases: np.ndarray  # (n,)
    palette: np.ndarray  # (m, 3) in 0..255

    @classmethod
    def draw(cls, rng: np.random.Generator, wavelength: float, palette: np.ndarray) -> Self:
        """A random one with wavelengths from `wavelength` to four times it."""
        direction = rng.standard_normal((12, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        lengths = wavelength * 4 ** rng.uniform(0, 1, (12, 1))
        return cls(2 * np.pi * direction / lengths, rng.uniform(0, 2 * np.pi, 12), palette)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Colours (N, 3) at points (3, N)."""
        blend = np.cos(self.waves @ points + self.phases[:, None]).mean(0)  # (N,)
        rank = (np.clip(1.6 * blend, -1, 1) + 1) / 2 * (len(self.palette) - 1)
        known = np.arange(len(self.palette))
        return np.stack([np.interp(rank, known, channel) for channel in self.palette.T], 1)


@dataclass(frozen=True)
class Solid:
    """A box or an ellipsoid around its origin."""

    box: bool
    radii: np.ndarray  # (3,) half its extents
    texture: Texture

    @property
    def reach(self) -> float:
        """Radius of the sphere around it."""
        return float(np.linalg.norm(self.radii) if self.box else self.radii.max())

    def support(self, rotation: np.ndarray) -> float:
        """How far it reaches below its origin when turned by a matrix (3, 3)."""
        scaled = rotation[2] * self.radii
        return float(np.abs(scaled).sum() if self.box else np.linalg.norm(scaled))

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Distances (N,) at which rays (3, N) from `origin` (3,) enter; inf if not."""
        start, rays = (origin / self.radii)[:, None], rays / self.radii[:, None]
        if self.box:
            with np.errstate(divide="ignore"):
                sides = np.sort((np.array([[[-1.0]], [[1.0]]]) - start) / rays, 0)  # (2, 3, N)
            enter, leave = sides[0].max(0), sides[1].min(0)
            return np.where((enter < leave) & (enter > 0), enter, np.inf)
        square, half = (rays**2).sum(0), (rays * start).sum(0)
        root = half**2 - square * ((start**2).sum() - 1)
        enter = (-half - np.sqrt(np.maximum(root, 0))) / square
        return np.where((root > 0) & (enter > 0), enter, np.inf)

    def normal(self, points: np.ndarray) -> np.ndarray:
        """Outward normals (3, N) of unit length at points (3, N) of the surface."""
        scaled = points / self.radii[:, None]
        if self.box:
            return np.where(np.abs(scaled) == np.abs(scaled).max(0), np.sign(scaled), 0.0)
        normal = scaled / self.radii[:, None]
        return normal / np.linalg.norm(normal, axis=0)
