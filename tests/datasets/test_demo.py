"""The renderer's flow, tracks and masks against each other and against its pictures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lrtl.datasets import demo
from lrtl.datasets.layout import Sequence
from lrtl.datasets.render import SIZE

POINTS = np.stack(np.meshgrid(np.arange(8, 312, 12.0), np.arange(6, 176, 10.0))).reshape(2, -1)
GRID = np.mgrid[: SIZE[0], : SIZE[1]][::-1].reshape(2, -1).astype(float)  # (x, y) of all pixels


def sample(image, points):
    """Sample an image (H, W, C) bilinearly at points (2, N): (N, C)."""
    image = torch.from_numpy(np.asarray(image, np.float64)).permute(2, 0, 1)[None]
    scale = np.array([[2 / (SIZE[1] - 1)], [2 / (SIZE[0] - 1)]])
    grid = torch.from_numpy(points * scale - 1).T[None, None]
    return F.grid_sample(image, grid, align_corners=True)[0, :, 0].T.numpy()


@pytest.mark.parametrize("name", demo.SCORED)
def test_tracks_follow_the_flow(name):
    scene = demo.scene(name)
    positions, visible = scene.tracks(20, POINTS)
    for gap in (1, -2):
        moved = POINTS + sample(scene.flow(20, gap).transpose(1, 2, 0), POINTS).T
        np.testing.assert_allclose(positions[20 + gap], moved, atol=1e-4)
    assert visible[20].all()
    np.testing.assert_allclose(positions[20], POINTS, atol=1e-9)


@pytest.mark.parametrize("name", demo.SCORED)
def test_visible_tracks_keep_object_and_colour(name):
    scene = demo.scene(name)
    positions, visible = scene.tracks(10, POINTS)
    ids = scene.mask(10)[POINTS[1].astype(int), POINTS[0].astype(int)]
    here = sample(scene.frame(10), POINTS)
    for t in (14, 30):
        seen = visible[t]
        there = sample(scene.frame(t), positions[t][:, seen])
        assert np.median(np.abs(there - here[seen])) < 6
        x, y = np.rint(positions[t][:, seen]).astype(int)
        assert (scene.mask(t)[y, x] == ids[seen]).mean() > 0.97


@pytest.mark.parametrize("name", demo.SCORED)
@pytest.mark.parametrize(("t", "gap"), [(3, 1), (20, -2)])
def test_frames_warped_by_the_flow_are_the_same(name, t, gap):
    scene = demo.scene(name)
    positions, visible = scene.tracks(t, GRID)
    moved = scene.flow(t, gap).reshape(2, -1) + GRID
    np.testing.assert_allclose(moved, positions[t + gap], atol=1e-4)
    # Away from edges, where colours of two objects mix, and from the frame's border.
    near = [positions[t + gap] + np.array([[x], [y]]) for x in (-3, 0, 3) for y in (-3, 0, 3)]
    ids = scene.ids(t, GRID)
    flat = np.all([scene.ids(t + gap, points) == ids for points in near], 0)
    flat &= visible[t + gap] & (moved > 1).all(0)
    flat &= (moved < np.array([[SIZE[1] - 2], [SIZE[0] - 2]])).all(0)
    assert flat.mean() > 0.8
    difference = sample(scene.frame(t + gap), moved[:, flat]) - sample(
        scene.frame(t), GRID[:, flat]
    )
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("name", demo.SCORED)
def test_masks_move_as_their_points(name):
    scene = demo.scene(name)
    positions, visible = scene.tracks(12, GRID)
    for t in (13, 25):
        seen = visible[t]
        there = scene.ids(t, positions[t][:, seen])
        np.testing.assert_array_equal(there, scene.mask(12).ravel()[seen])


def test_what_happens_in_the_sequences():
    comet, duet, pause = (demo.scene(name) for name in demo.SCORED)
    area = [(comet.mask(t) > 0).mean() for t in range(comet.length)]
    assert 0.03 < min(area) < max(area) < 0.15
    assert set(np.unique(duet.mask(20))) == {0, 1, 2}

    def relative(t):
        """Speed in px per frame of the object of `pause` against the background under it."""
        centre = np.argwhere(pause.mask(t) == 1).mean(0)[::-1, None]
        moved = [pause._carry(np.array([i]), centre, t, t + 1) for i in (0, 1)]
        return np.hypot(*(moved[1] - moved[0])).item()

    assert relative(24) < 0.5
    assert relative(8) > 3
    assert relative(40) > 3


def test_prepared_sequences_are_the_same_every_time(comet, tmp_path):
    demo.prepare("comet", None, tmp_path / "comet")
    again = Sequence.open(tmp_path / "comet")
    for folder, suffix in (("frames", "jpg"), ("masks", "png")):
        name = f"{folder}/00017.{suffix}"
        assert (again.folder / name).read_bytes() == (comet.folder / name).read_bytes()


def test_the_real_clip(tmp_path):
    demo.prepare("box", None, tmp_path / "box")
    box = Sequence.open(tmp_path / "box")
    assert (len(box.frames), box.annotated) == (100, ())
    assert box.frame(50).shape == (240, 320, 3)
    assert box.mask(50) is None
    with pytest.raises(ValueError, match="unknown demo sequence 'boxes'"):
        demo.prepare("boxes", None, tmp_path / "boxes")
