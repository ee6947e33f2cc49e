"""Trajectories from depth, ids and poses against the renderer's own geometry."""

import numpy as np
import pytest

from lrtl.datasets.movi_mini import FOCAL_LENGTH, FRAMES, SENSOR_WIDTH, SIDE, draw_scene, render
from lrtl.datasets.trajectories import flow, trajectories

SEED = 3
PIXELS = np.arange(SIDE * SIDE)
GRID = np.stack([PIXELS % SIDE, PIXELS // SIDE]).astype(float)  # (x, y)


@pytest.fixture(scope="module")
def scene():
    return draw_scene(SEED)


@pytest.fixture(scope="module")
def video():
    return render(SEED)


def camera_rays(scene, t, points):
    """Unit rays (3, N) of the world through points (2, N) in px of frame t."""
    right, up, back = scene.camera_rotations[t].T
    focal = FOCAL_LENGTH / SENSOR_WIDTH  # of a frame one wide
    u, v = (points + 0.5) / SIDE - 0.5
    rays = np.outer(right, u) - np.outer(up, v) - focal * back[:, None]
    return rays / np.linalg.norm(rays, axis=0)


def exact(scene, t, points):
    """Positions (T, 2, N), and distances (T, N) and ids, of what points (2, N) of frame t hit."""
    rays, origin = camera_rays(scene, t, points), scene.camera_positions[t]
    distance, ids = scene.cast(t, origin, rays)
    world = origin[:, None] + distance * rays
    positions, distances = [], []
    for s in range(FRAMES):
        moved = world.copy()
        for i in range(len(scene.solids)):
            own = scene.rotations[i, t].T @ (world - scene.positions[i, t][:, None])
            there = scene.rotations[i, s] @ own + scene.positions[i, s][:, None]
            moved[:, ids == i + 1] = there[:, ids == i + 1]
        offset = moved - scene.camera_positions[s][:, None]
        right, up, back = scene.camera_rotations[s].T @ offset
        focal = FOCAL_LENGTH / SENSOR_WIDTH * SIDE
        positions.append(np.stack([focal * right / -back, focal * up / back]) + (SIDE - 1) / 2)
        distances.append(np.linalg.norm(offset, axis=0))
    return np.stack(positions), np.stack(distances), ids


@pytest.mark.parametrize("t", [0, 13])
def test_tracks_are_those_of_the_geometry(scene, video, t):
    positions, _ = trajectories(video, t, PIXELS)
    expected, distances, _ = exact(scene, t, GRID)
    near = (np.abs(expected) < 4 * SIDE).all(1) & (distances > 1)
    assert near.mean() > 0.97
    assert np.abs(positions - expected).max(1)[near].max() < 0.01


def test_a_pixel_is_where_it_is_at_its_frame_on_objects_too(video):
    for t in (0, 7):
        positions, visible = trajectories(video, t, PIXELS)
        np.testing.assert_allclose(positions[t], GRID, atol=1e-9)
        assert visible[t].all()
        assert len(np.unique(video.segmentations[t])) > 3


def test_visibility_is_that_of_a_ray_to_the_point(scene, video):
    positions, visible = trajectories(video, 9, PIXELS)
    _, distances, ids = exact(scene, 9, GRID)
    for s in (0, 6, 12, 23):
        inside = ((positions[s] > -0.5) & (positions[s] < SIDE - 0.5)).all(0)
        first, hit = scene.cast(s, scene.camera_positions[s], camera_rays(scene, s, positions[s]))
        seen = inside & (hit == ids) & (distances[s] < first * (1 + 1e-6))
        # Half a px about silhouettes points are called hidden too early, rarely too late.
        assert (visible[s] & ~seen).mean() < 0.004
        # Well behind another surface all around, a point is never called visible.
        hidden = np.ones(len(PIXELS), bool)
        for x in (-1.5, 0, 1.5):
            for y in (-1.5, 0, 1.5):
                rays = camera_rays(scene, s, positions[s] + [[x], [y]])
                hidden &= scene.cast(s, scene.camera_positions[s], rays)[0] < distances[s] - 0.1
        assert hidden.sum() > 100
        assert not visible[s][hidden].any()
        assert (visible[s] & seen).sum() > 0.97 * seen.sum()


def test_flow_is_x_then_y_of_the_geometry(scene, video):
    for gap in (1, -1):
        expected = exact(scene, 5, GRID)[0][5 + gap] - GRID
        np.testing.assert_allclose(flow(video, 5, gap).reshape(2, -1), expected, atol=0.01)


def test_colours_follow_the_tracks(video):
    positions, visible = trajectories(video, 10, PIXELS)
    here = video.video[10].reshape(-1, 3).astype(float)
    x, y = np.rint(positions[12]).astype(int)
    seen = visible[12]
    there = video.video[12][y[seen], x[seen]].astype(float)
    assert np.median(np.abs(there - here[seen])) < 10


def test_videos_have_moving_objects_and_a_moving_camera():
    for seed in range(4):
        video = render(seed)
        assert video.video.shape == (FRAMES, SIDE, SIDE, 3)
        foreground = (video.segmentations > 0).mean()
        assert 0.05 < foreground < 0.6
        assert (video.positions[..., 2] > 0).all()
        assert np.ptp(video.positions, 1).max(-1).min() > 0.5
        assert np.linalg.norm(video.camera_positions[-1] - video.camera_positions[0]) > 0.9


def test_a_seed_gives_the_same_video(video):
    np.testing.assert_array_equal(render(SEED).video, video.video)
