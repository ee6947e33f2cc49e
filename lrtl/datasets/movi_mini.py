"""An embedded stand-in for MOVi-F: textured solids that fall, spin and collide, by ray casting.

A video has the fields of MOVi-F (lrtl/datasets/movi.py): 24 frames of 128 x 128 px at 12 a second,
a camera that moves along a line and looks at the middle, boxes and ellipsoids tossed towards it
over a textured ground under a dome. No motion blur and no shadows; one ray for each pixel.
"""

from dataclasses import dataclass
from itertools import count

import numpy as np
from scipy.spatial.transform import Rotation

from lrtl.datasets.solids import Solid, Texture
from lrtl.datasets.trajectories import RigidVideo

FRAMES, SIDE = 24, 128
RATE, STEPS = 12, 20  # frames a second, steps of the simulation for each
FOCAL_LENGTH, SENSOR_WIDTH = 35.0, 32.0  # mm, MOVi's
DOME = 30.0  # radius of the background's half-sphere
GRAVITY, RESTITUTION = 9.81, 0.5
FRICTION = 2.5  # per second, of what slides or spins on the ground
MIDDLE = np.array([0, 0, 0.8])  # where the camera looks
LIGHT = np.array([0.4, -0.5, 0.77])
OBJECTS = (4, 7)  # fewest and most


@dataclass(frozen=True)
class Scene:
    """Solids, their motion, the camera's and the background; what `render` looks at."""

    solids: list[Solid]
    positions: np.ndarray  # (I, T, 3)
    rotations: np.ndarray  # (I, T, 3, 3)
    camera_positions: np.ndarray  # (T, 3)
    camera_rotations: np.ndarray  # (T, 3, 3)
    background: Texture

    def cast(self, t: int, origin: np.ndarray, rays: np.ndarray):
        """Nearest hits of rays (3, N) at frame t: distances (N,) and ids (N,), 0 the background."""
        distances = [_background_hit(origin, rays)]
        for index, solid in enumerate(self.solids):
            turn = self.rotations[index, t].T
            distances.append(solid.hit(turn @ (origin - self.positions[index, t]), turn @ rays))
        distances = np.stack(distances)  # (I + 1, N)
        ids = distances.argmin(0)
        return distances[ids, np.arange(len(ids))], ids

    def colour(self, t: int, points: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Colours (N, 3) of points (3, N) of the world on instances `ids`."""
        far = np.where(points[2] > 1e-6, 5.0, 1.0)  # the dome's texture is coarser
        colours = self.background(points / far)
        for index, solid in enumerate(self.solids):
            on, turn = ids == index + 1, self.rotations[index, t]
            own = turn.T @ (points[:, on] - self.positions[index, t, :, None])
            shade = 0.65 + 0.35 * (LIGHT @ turn @ solid.normal(own))
            colours[on] = solid.texture(own) * shade[:, None]
        return colours


def render(seed: int) -> RigidVideo:
    """Render the video of a seed, always the same."""
    scene = draw_scene(seed)
    focal = FOCAL_LENGTH / SENSOR_WIDTH * SIDE
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, -1) - (SIDE - 1) / 2
    rays = np.stack([x, -y, np.full(x.shape, -focal)])
    rays /= np.linalg.norm(rays, axis=0)  # (3, HW)
    video, ids, depth = [], [], []
    for t, (origin, turn) in enumerate(
        zip(scene.camera_positions, scene.camera_rotations, strict=True)
    ):
        distance, hit = scene.cast(t, origin, turn @ rays)
        colours = scene.colour(t, origin[:, None] + distance * (turn @ rays), hit)
        video.append(np.clip(np.rint(colours), 0, 255).reshape(SIDE, SIDE, 3).astype(np.uint8))
        ids.append(hit.reshape(SIDE, SIDE).astype(np.uint8))
        depth.append(distance.reshape(SIDE, SIDE).astype(np.float32))
    return RigidVideo(
        name=f"{seed:05d}",
        video=np.stack(video),
        segmentations=np.stack(ids),
        depth=np.stack(depth),
        focal_length=FOCAL_LENGTH,
        sensor_width=SENSOR_WIDTH,
        camera_positions=scene.camera_positions,
        camera_quaternions=_quaternions(scene.camera_rotations),
        positions=scene.positions,
        quaternions=_quaternions(scene.rotations),
    )


def draw_scene(seed: int) -> Scene:
    """The scene of a seed: solids, their simulated motion and the camera's path."""
    rng = np.random.default_rng([17, seed])
    hues = rng.permutation(np.linspace(0, 1, OBJECTS[1], endpoint=False))
    solids = []
    for hue in hues[: rng.integers(OBJECTS[0], OBJECTS[1] + 1)]:
        radii = rng.uniform(0.6, 1.1, 3)
        bright = 255 * (0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array([0, 1 / 3, 2 / 3]))))
        palette = np.stack([0.35 * bright, bright, 0.5 * bright + 110])
        solids.append(Solid(bool(rng.random() < 0.5), radii, Texture.draw(rng, 0.35, palette)))
    positions, rotations = _simulate(rng, solids)
    camera_positions, camera_rotations = _camera(rng)
    greys = np.array([70.0, 120.0, 165.0])[:, None] + rng.uniform(-30, 30, (3, 3))
    background = Texture.draw(rng, 0.7, greys)
    return Scene(solids, positions, rotations, camera_positions, camera_rotations, background)


def _simulate(rng: np.random.Generator, solids: list[Solid]):
    """Positions (I, T, 3) and rotations (I, T, 3, 3) of solids tossed towards the middle."""
    place = _spawn(rng, solids)
    speed = rng.uniform([-2.5, -2.5, 0], [2.5, 2.5, 1], place.shape) - place * [0.7, 0.7, 0]
    turn = Rotation.random(len(solids), random_state=rng)
    spin = rng.standard_normal(place.shape) * 1.6  # radians per second
    step = 1 / (RATE * STEPS)
    positions, rotations = [], []
    for index in range(FRAMES * STEPS):
        if index % STEPS == 0:
            positions.append(place.copy())
            rotations.append(turn.as_matrix())
        speed[:, 2] -= GRAVITY * step
        place += speed * step
        turn = Rotation.from_rotvec(spin * step) * turn
        _land(solids, turn.as_matrix(), place, speed, spin, step)
        _collide(solids, place, speed)
    return np.stack(positions, 1), np.stack(rotations, 1)


def _spawn(rng: np.random.Generator, solids: list[Solid]) -> np.ndarray:
    """Places (I, 3) above the ground that do not touch each other."""
    places: list[np.ndarray] = []
    for solid in solids:
        for tries in count():
            place = rng.uniform([-3, -3, 1.2], [3, 3, 4 + 0.01 * tries])
            gaps = [
                np.linalg.norm(place - p) - s.reach for p, s in zip(places, solids, strict=False)
            ]
            if min(gaps, default=np.inf) > solid.reach:
                break
        places.append(place)
    return np.stack(places)


def _land(solids, rotations, place, speed, spin, step: float) -> None:
    """Lift what is below the ground, bounce it and slow what slides, in place."""
    for index, solid in enumerate(solids):
        depth = solid.support(rotations[index]) - place[index, 2]
        if depth > 0:
            place[index, 2] += depth
            speed[index, 2] = max(speed[index, 2], -RESTITUTION * speed[index, 2])
            speed[index, :2] *= 1 - FRICTION * step
            spin[index] *= 1 - FRICTION * step


def _collide(solids, place, speed) -> None:
    """Part solids whose spheres touch and exchange momentum along the line between, in place."""
    for i in range(len(solids)):
        for j in range(i):
            line = place[i] - place[j]
            distance = np.linalg.norm(line)
            overlap = solids[i].reach + solids[j].reach - distance
            if overlap <= 0:
                continue
            line /= distance
            masses = np.array([solids[i].radii.prod(), solids[j].radii.prod()])
            shares = masses[::-1] / masses.sum()  # the lighter one moves more
            approach = min(0.0, (speed[i] - speed[j]) @ line) * (1 + RESTITUTION)
            speed[i] -= shares[0] * approach * line
            speed[j] += shares[1] * approach * line
            place[i] += shares[0] * overlap * line
            place[j] -= shares[1] * overlap * line


def _camera(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, 3) along a line and rotations (T, 3, 3) towards the middle."""
    angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.75)
    flat = np.sqrt(1 - height**2)
    start = rng.uniform(8.5, 10) * np.array([flat * np.cos(angle), flat * np.sin(angle), height])
    move = rng.standard_normal(3) * [1, 1, 0.5]
    move *= rng.uniform(1, 3) / np.linalg.norm(move)
    positions = start + np.linspace(-0.5, 0.5, FRAMES)[:, None] * move
    back = positions - MIDDLE
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return positions, np.stack([right, np.cross(back, right), back], -1)


def _background_hit(origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Distances (N,) at which rays (3, N) from within the dome meet its ground or the dome."""
    half = origin @ rays
    dome = -half + np.sqrt(half**2 - origin @ origin + DOME**2)
    with np.errstate(divide="ignore"):
        return np.where(rays[2] < 0, np.minimum(-origin[2] / rays[2], dome), dome)


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    """Quaternions (..., 4), (w, x, y, z), of rotation matrices (..., 3, 3)."""
    return Rotation.from_matrix(rotations).as_quat(scalar_first=True)
