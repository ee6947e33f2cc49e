"""TAPIR's adapter with a stand-in model, and the real code where it is installed."""

import numpy as np
import pytest
import torch

from lrtl.motion import tapir
from lrtl.motion.tapir import TAPIR_VARIANTS, Tapir, open_tapir
from tests.conftest import tracks_config
from tests.motion.frames import POINTS, SIZE, counted


class StandIn(torch.nn.Module):
    """Points that stay where they are; those on the left are hidden, those below far off."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))
        self.calls = []

    def forward(self, video, queries, query_chunk_size):
        self.calls.append((video, queries))
        frames, count = video.shape[1], queries.shape[1]
        _, y, x = queries[0].unbind(-1)
        tracks = torch.stack([x, y], -1)[None, :, None].expand(1, count, frames, 2)
        occlusion = torch.where(x < 50, 5.0, -5.0)[None, :, None].expand(1, count, frames)
        distance = torch.where(y > 200, 5.0, -5.0)[None, :, None].expand(1, count, frames)
        return {"tracks": tracks, "occlusion": occlusion, "expected_dist": distance}


@pytest.fixture
def config(tmp_path):
    """Settings of a tracker with a file of weights, changed by keywords."""
    (tmp_path / "weights.pth").write_bytes(b"stand-in")

    def build(tracker, **changes):
        about = {"tracker": tracker, "size": SIZE, "weights": str(tmp_path / "weights.pth")}
        return tracks_config(20, 4, **about | changes)

    return build


@pytest.mark.parametrize("tracker", TAPIR_VARIANTS)
def test_points_come_back_where_they_were(config, tracker):
    """Pixel centres are at integers here and at halves there, at another resolution."""
    model = StandIn()
    positions, visible = Tapir(counted(12), config(tracker), model).track(POINTS, 5, 2, 9)
    np.testing.assert_allclose(positions, np.repeat(POINTS[None], 8, 0), atol=1e-4)
    video, queries = model.calls[0]
    height, width = TAPIR_VARIANTS[tracker].resolution
    assert video.shape == (1, 8, height, width, 3)
    torch.testing.assert_close(video[0, :, 0, 0, 0], torch.arange(2, 10) / 127.5 - 1)
    last = [3, height - 0.5 * height / SIZE[0], width - 0.5 * width / SIZE[1]]
    assert queries[0, 2].tolist() == pytest.approx(last)
    hidden = (queries[0, :, 2] < 50) | (queries[0, :, 1] > 200)
    shown = np.repeat(~hidden.numpy()[None], 8, 0)
    shown[3] = True  # the query frame
    assert (visible == shown).all()


def test_calls_have_few_enough_points(config):
    model = StandIn()
    tracker = Tapir(counted(12), config("tapir", points_per_call=2), model)
    positions, _ = tracker.track(POINTS, 0, 0, 3)
    np.testing.assert_allclose(positions[1], POINTS, atol=1e-4)
    assert [queries.shape[1] for _, queries in model.calls] == [2, 1]


def test_without_the_package_the_error_has_remedy_and_licence(config, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tapnet", None)
    with pytest.raises(ValueError, match=r"Apache 2\.0.*--no-deps .git\+https.*tapnet@"):
        open_tapir(tmp_path, config("tapir"))


@pytest.mark.parametrize("tracker", TAPIR_VARIANTS)
def test_tracks_are_those_of_the_real_model(config, tracker, monkeypatch):
    """Random weights, at a small resolution: the published forward pass over the same frames."""
    code = pytest.importorskip("tapnet.torch.tapir_model", reason="tapnet is not installed")
    torch.manual_seed(0)
    variant = TAPIR_VARIANTS[tracker]._replace(resolution=(64, 64))
    monkeypatch.setitem(tapir.TAPIR_VARIANTS, tracker, variant)
    model = code.TAPIR(**variant.build, initial_resolution=(64, 64)).eval()
    adapter = Tapir(counted(12), config(tracker), model)
    adapter.images = torch.rand(12, 64, 64, 3) * 2 - 1
    positions, _ = adapter.track(POINTS, 4, 2, 7)
    x, y = (POINTS + 0.5) * np.array([[64 / 160], [64 / 120]], np.float32)
    queries = torch.from_numpy(np.stack([np.full(3, 2, np.float32), y, x], 1))[None]
    with torch.inference_mode():
        tracks = model(adapter.images[None, 2:8], queries)["tracks"][0].permute(1, 2, 0).numpy()
    expected = tracks / np.array([[64 / 160], [64 / 120]]) - 0.5
    expected[2] = POINTS
    np.testing.assert_allclose(positions, expected, atol=1e-3)
