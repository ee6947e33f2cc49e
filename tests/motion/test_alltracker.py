"""AllTracker's adapter with a stand-in model, and the real code where it is on the path."""

import numpy as np
import pytest
import torch

from lrtl.motion import alltracker
from lrtl.motion.alltracker import AllTracker, open_alltracker
from lrtl.motion.learned import cuda_or_cpu
from tests.conftest import tracks_config
from tests.motion.frames import POINTS, SIZE, counted


class StandIn(torch.nn.Module):
    """Flow that grows to the right and with the frame; what has gone far is not visible."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))
        self.calls = []

    def forward_sliding(self, video, iters):
        numbers = video[0, :, 0, 0, 0].round()
        self.calls.append(numbers.int().tolist())
        assert len(numbers) > 2  # of two frames the published model gives no video
        height, width = video.shape[-2:]
        gone = (numbers - numbers[0])[:, None, None].cuda()
        x = torch.arange(width).expand(len(numbers), height, width) * 0.01 * gone
        flow = torch.stack([x, torch.zeros_like(x)], 1)[None]
        seen = torch.where(gone.abs() > 2, 0.7, 0.9).expand(-1, height, width)
        return flow, torch.stack([seen, seen], 1)[None], None, None


@pytest.fixture
def config(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"stand-in")
    about = {"tracker": "alltracker", "size": SIZE, "weights": str(tmp_path / "weights.pth")}
    return tracks_config(20, 4, **about)


def test_points_are_read_from_the_flow_both_ways(config):
    model = StandIn()
    tracker = AllTracker(counted(12), config, model)
    assert tracker.images.shape == (12, 3, 768, 1024)
    positions, visible = tracker.track(POINTS, 5, 2, 6)
    expected = np.repeat(POINTS[None], 5, 0)
    expected[:, 0] += (np.arange(2, 7) - 5)[:, None] * 0.01 * POINTS[0]
    np.testing.assert_allclose(positions, expected, atol=1e-3)
    assert (visible.T == [False, True, True, True, True]).all()
    assert (positions[3] == POINTS).all()
    assert model.calls == [[5, 6, 6], [5, 4, 3, 2]]
    positions, visible = tracker.track(POINTS, 11, 11, 11)
    assert positions.shape == (1, 2, 3)
    assert visible.all()


def test_frames_are_as_long_as_published_and_multiples_of_8(config):
    longest = max(AllTracker(counted(12), config, StandIn()).images.shape[2:])
    assert longest == alltracker.LONGEST
    assert [480 * 1024 // 854 // 8 * 8, 854 * 1024 // 854 // 8 * 8] == [568, 1024]


def test_without_the_code_the_error_has_remedy_and_licence(config, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "nets", None)
    with pytest.raises(ValueError, match=r"MIT: git clone .*aharley/alltracker .*checkout c1ed46"):
        open_alltracker(tmp_path, config)


def test_tracks_are_those_of_the_real_demo(config, monkeypatch):
    """Random weights on small frames: the demo's dense tracks of the same frames at its pixels."""
    code = pytest.importorskip("nets.alltracker", reason="AllTracker is not on Python's path")
    monkeypatch.setattr(alltracker, "LONGEST", 192)
    torch.manual_seed(0)
    model = code.Net(16, init_weights=False).eval().requires_grad_(False)
    model.flow_head[2].weight *= 10
    adapter = AllTracker(counted(12), config, model)
    adapter.images = torch.rand(12, 3, 144, 192) * 255
    pixels = np.array([[0, 64, 100, 191], [0, 21, 90, 143]])
    scale = np.array([[191 / 159], [143 / 119]])
    points = (pixels / scale).astype(np.float32)
    positions, visible = adapter.track(points, 4, 2, 7)
    expected, shown = [], []
    for clip in (adapter.images[2:5].flip(0), adapter.images[4:8]):
        with cuda_or_cpu():
            flow, seen, *_ = model.forward_sliding(clip[None], iters=4)
        expected.append((flow[0, :, :, pixels[1], pixels[0]].numpy() + pixels) / scale)
        shown.append(seen[0, :, :, pixels[1], pixels[0]].prod(1).numpy() >= 0.6)
    expected, shown = (np.concatenate([b[:0:-1], a]) for b, a in (expected, shown))
    expected[2], shown[2] = points, True
    assert np.abs(np.diff(expected, axis=0)).max() > 0.5
    np.testing.assert_allclose(positions, expected, atol=1e-3)
    np.testing.assert_array_equal(visible, shown)
