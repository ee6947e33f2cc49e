"""CoTracker's adapter with a stand-in model, and against the real predictor if installed."""

import sys

import cv2
import numpy as np
import pytest
import torch

from lrtl.motion import cotracker
from lrtl.motion.cotracker import VARIANTS, CoTracker, open_cotracker, released_clip, wanted_windows
from lrtl.motion.grids import AUXILIARY
from tests.conftest import tracks_config
from tests.motion.frames import POINTS, SIZE, Frames, counted

SEEN = (96, 128)


class StandIn(torch.nn.Module):
    """Points that move a px to the right from frame to frame; a frame's number is its colour."""

    window_len, model_resolution = 8, SEEN

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))
        self.calls = []

    def forward(self, video, queries, iters):
        numbers = video[0, :, 0, 0, 0].round()
        self.calls.append((numbers.int().tolist(), queries[0]))
        index = queries[0, :, 0].long().clamp(max=len(numbers) - 1)
        moved = numbers[:, None] - numbers[index][None]  # (T, N)
        positions = queries[0, None, :, 1:] + moved[..., None] * torch.tensor([1.0, 0.0])
        seen = torch.where(numbers % 3 == 0, 0.5, 0.95)[:, None].expand_as(moved)
        return positions[None], seen[None], torch.ones_like(seen)[None], None


@pytest.fixture
def config(tmp_path):
    """Settings of a tracker, changed by keywords."""
    (tmp_path / "weights.pth").write_bytes(b"stand-in")

    def build(tracker, **changes):
        about = {"size": SIZE, "auxiliary": "paper", "weights": str(tmp_path / "weights.pth")}
        return tracks_config(20, 4, tracker=tracker, **about | changes)

    return build


@pytest.mark.parametrize("tracker", VARIANTS)
@pytest.mark.parametrize(("frames", "frame"), [(3, 1), (30, 0), (30, 17), (30, 29), (150, 80)])
def test_rows_are_the_frames_asked_for(config, tracker, frames, frame):
    first, last = max(frame - 9, 0), min(frame + 9, frames - 1)
    model = StandIn()
    positions, visible = CoTracker(counted(frames), config(tracker), model).track(
        POINTS, frame, first, last
    )
    expected = np.repeat(POINTS[None], last - first + 1, axis=0)
    numbers = np.arange(first, last + 1)
    expected[:, 0] += (159 / 127 * (numbers - frame))[:, None]
    np.testing.assert_allclose(positions, expected, atol=1e-3)
    assert positions.dtype == np.float32
    threshold = (0.95 if tracker == "cotracker3_online" else 0.5) > 0.6
    shown = (numbers % 3 != 0) | (numbers == frame) | threshold & (numbers % 3 != 0)
    assert (visible == shown[:, None]).all()
    assert (positions[frame - first] == POINTS).all()
    if VARIANTS[tracker].joint:
        assert model.calls[0][0] == numbers.tolist()


def test_auxiliary_points_of_a_half_are_ahead_of_it(config):
    model = StandIn()
    CoTracker(counted(40), config("cotracker2"), model).track(POINTS, 20, 10, 30)
    for (numbers, queries), other in zip(model.calls, (27, 13), strict=True):
        where = [numbers[int(i)] for i in queries[:, 0]]
        assert where == [20] * 3 + [other] * 20
        assert len(numbers) < 25
    model.calls.clear()
    CoTracker(counted(40), config("cotracker2"), model).track(POINTS, 39, 29, 39)
    assert len(model.calls) == 1  # nothing ahead of the last frame


def test_auxiliary_grids():
    counts = {name: grid((480, 854)).shape for name, grid in AUXILIARY.items()}
    assert counts == {"paper": (2, 405), "released": (2, 1024), "none": (2, 0)}
    grid = AUXILIARY["released"]((480, 854))
    assert grid[:, 0].tolist() == [0, 0]
    assert grid[:, -1].tolist() == [853, 479]


def test_calls_have_few_enough_points_from_all_over(config):
    model = StandIn()
    tracker = CoTracker(counted(30), config("cotracker3_offline", points_per_call=4), model)
    points = np.stack([np.arange(10), np.arange(10)]).astype(np.float32)
    positions, _ = tracker.track(points, 5, 0, 12)
    assert np.allclose(positions[:, 1], points[1], atol=1e-4)
    assert [len(q) - 2 * 20 for _, q in model.calls] == [4, 3, 3]


@pytest.mark.parametrize(("count", "asked"), [(63, 63), (64, 65), (65, 65)])
def test_a_call_never_has_as_many_points_as_virtual_tracks(config, count, asked):
    """The model tells its points from its virtual tracks by their number."""
    model = StandIn()
    tracker = CoTracker(counted(20), config("cotracker2", auxiliary="none"), model)
    points = np.stack([np.arange(count), np.arange(count)]).astype(np.float32)
    positions, _ = tracker.track(points, 5, 5, 9)
    assert [len(queries) for _, queries in model.calls] == [asked]
    assert np.allclose(positions[:, 1], points[1], atol=1e-4)


def test_as_many_points_as_virtual_tracks_would_see_one_still_to_come(config, monkeypatch):
    """The real model, with 8 virtual tracks: a point of a later window changes no earlier one."""
    model, images = real_model("cotracker2"), moving_texture(16)
    generator = np.random.default_rng(2)
    points = generator.uniform([[0], [0]], [[159], [119]], (2, 7)).astype(np.float32)

    def change():
        tracks = []
        for x in (10, 150):
            adapter = CoTracker(Frames(images), config("cotracker2"), model)
            adapter.auxiliary = np.array([[x], [60]], np.float32)
            tracks.append(adapter._call(points, np.arange(16), 0, [12])[0][:4])
        return np.abs(tracks[0] - tracks[1]).max()

    assert change() > 1e-3
    monkeypatch.setattr(cotracker, "VIRTUAL_TRACKS", 8)
    assert change() < 1e-4


@pytest.mark.parametrize("window", [8, 16])
def test_wanted_windows_are_those_of_the_whole_clip(window):
    step = window // 2

    def begins(length):
        return list(range(0, step * (max(-(-(length - window) // step), 0) + 1), step))

    for frames in (1, 5, 8, 9, 12, 13, 41, 101):
        for query in range(frames):
            for last in range(query, min(query + 25, frames)):
                held = [b for b in begins(frames) if b + window > query and b <= last]
                start, stop = wanted_windows(query, last, frames, window)
                assert [start + b for b in begins(stop - start)] == held
                assert stop == min(held[-1] + window, frames)


def test_released_clips():
    assert released_clip(10, 101) == (0, 101)
    assert released_clip(10, 200) == (0, 101)
    assert released_clip(100, 200) == (50, 151)
    assert released_clip(199, 200) == (99, 200)


def test_without_the_package_the_error_has_remedy_and_licence(config, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cotracker", None)
    with pytest.raises(ValueError, match=r"CC BY-NC 4\.0.*pip install 'git\+https.*co-tracker@82e"):
        open_cotracker(tmp_path, config("cotracker2"))


def test_settings_out_of_range_are_named(config):
    with pytest.raises(ValueError, match="weights is None, expected a file for cotracker2"):
        config("cotracker2", weights=None)
    with pytest.raises(ValueError, match="precision is 'half'"):
        config("cotracker2", precision="half")
    with pytest.raises(ValueError, match="auxiliary is 'all'"):
        config("cotracker2", auxiliary="all")


def real_model(tracker):
    """A small published model with random weights that move points by a px or more.

    The columns that take in the sines of CoTracker2's displacements are damped: random weights on
    frequencies up to 1000 per px let rounding errors grow a thousandfold at every update.
    """
    reason = "cotracker is not installed: see docs/motion.md, Trackers"
    three = pytest.importorskip("cotracker.models.core.cotracker.cotracker3_online", reason=reason)
    two = pytest.importorskip("cotracker.models.core.cotracker.cotracker", reason=reason)
    torch.manual_seed(0)
    small = {"model_resolution": SEEN, "num_virtual_tracks": 8}
    with torch.no_grad():
        if tracker == "cotracker2":
            model = two.CoTracker2(window_len=8, **small)
            model.updateformer.input_transform.weight[:, :128] *= 1e-3
        elif tracker == "cotracker3_online":
            model = three.CoTrackerThreeOnline(window_len=16, **small)
            model.updateformer.flow_head.weight *= 3
        else:
            offline = "cotracker.models.core.cotracker.cotracker3_offline"
            model = pytest.importorskip(offline).CoTrackerThreeOffline(window_len=60, **small)
            model.updateformer.flow_head.weight *= 3
    return model.eval()


def moving_texture(frames):
    generator = np.random.default_rng(0)
    texture = generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    texture = cv2.resize(texture, (400, 300), interpolation=cv2.INTER_CUBIC)
    height, width = SIZE
    crops = [texture[t : t + height, 2 * t : 2 * t + width] for t in range(frames)]
    return [np.ascontiguousarray(crop) for crop in crops]


def predict(model, images, points, frame, auxiliary):
    """Tracks of the real predictor over a whole clip: positions (T, 2, N) and visibility (T, N).

    Points (2, N) are at `frame`; auxiliary points (3, M) have their frames in the first row.
    """
    from cotracker.predictor import CoTrackerPredictor

    predictor = CoTrackerPredictor.__new__(CoTrackerPredictor)
    torch.nn.Module.__init__(predictor)
    predictor.model, predictor.interp_shape = model, SEEN
    queries = np.hstack([np.vstack([np.full(points.shape[1], frame), points]), auxiliary]).T
    video = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)[None].float()
    with torch.no_grad():
        positions, visible = predictor._compute_sparse_tracks(
            video, torch.tensor(queries, dtype=torch.float32)[None]
        )
    count = points.shape[1]
    return positions[0, :, :count].transpose(1, 2).numpy(), visible[0, :, :count].numpy()


@pytest.mark.parametrize("tracker", ["cotracker2", "cotracker3_online"])
def test_tracks_are_those_of_the_whole_clip(config, tracker):
    """Positions to 1e-3 px within 5 frames of the query frame, with half the windows."""
    model, images, frame = real_model(tracker), moving_texture(25), 14
    adapter = CoTracker(Frames(images), config(tracker), model)
    adapter.auxiliary = adapter.auxiliary[:, ::10]
    generator = np.random.default_rng(1)
    points = generator.uniform([[0], [0]], [[159], [119]], (2, 4)).astype(np.float32)
    positions, visible = adapter.track(points, frame, 9, 19)
    ahead, behind = (np.vstack([np.full(2, t), adapter.auxiliary]) for t in (21, 17))
    ahead = predict(model, images, points, frame, ahead)
    behind = predict(model, images[::-1], points, 10, behind)
    expected, shown = (
        np.concatenate([b[::-1][9:14], a[14:20]]) for a, b in zip(ahead, behind, strict=True)
    )
    assert np.abs(np.diff(expected, axis=0)).max() > 2
    assert np.abs(positions - expected).max() < 1e-3
    if tracker == "cotracker2":
        assert (visible == shown).all()


def test_a_joint_pass_is_that_of_the_predictor(config):
    model, images = real_model("cotracker3_offline"), moving_texture(9)
    adapter = CoTracker(Frames(images), config("cotracker3_offline"), model)
    adapter.auxiliary = adapter.auxiliary[:, ::10]
    points = np.array([[20, 80.5, 150], [30, 60.25, 100]], np.float32)
    positions, visible = adapter.track(points, 1, 0, 8)  # one auxiliary frame is clamped to 0
    both = np.hstack([np.vstack([np.full(2, t), adapter.auxiliary]) for t in (0, 8)])
    expected, shown = predict(model, images, points, 1, both)
    assert np.abs(np.diff(expected, axis=0)).max() > 2
    assert np.abs(positions - expected).max() < 1e-3
    assert (visible == shown).all()
