"""RAFT on real frames with the published weights, and what it does with odd sizes and files."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lrtl.datasets import davis
from lrtl.datasets.layout import Sequence
from lrtl.motion import correlation
from lrtl.motion.correlation import pyramid_bytes
from lrtl.motion.raft import Encoding, Raft, load_raft


def frames(mirror, folder, name, *indices):
    """Frames of a DAVIS sequence, each (1, 3, H, W) in 0..255."""
    davis.prepare(name, mirror / "DAVIS-data.zip", folder / name)
    sequence = Sequence.open(folder / name)
    return [torch.from_numpy(sequence.frame(i)).permute(2, 0, 1)[None].float() for i in indices]


def warp(image, flow):
    """Sample an image at every pixel's target, borders replicated."""
    height, width = flow.shape[-2:]
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = (torch.stack([xs, ys]) + flow[0]).permute(1, 2, 0)[None]
    points = 2 * points / torch.tensor([width - 1, height - 1]) - 1
    return F.grid_sample(image, points, padding_mode="border", align_corners=True)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "before", "after"), [("car-roundabout", 0.235, 0.07), ("dog", 0.133, 0.055)]
)
def test_published_weights_explain_real_motion(mirror, tmp_path, name, before, after):
    """Mean absolute difference of intensities in [-1, 1] before and after warping."""
    first, second = frames(mirror, tmp_path, name, 10, 12)
    model = load_raft(True, mirror / "raft-small.pth")
    flow = model.flow(model.encode(first), model.encode(second), first.shape[-2:], 20)
    assert (first - second).abs().mean() / 127.5 == pytest.approx(before, abs=0.005)
    assert (first - warp(second, flow)).abs().mean() / 127.5 < after


@torch.inference_mode()
def test_parity_with_torchvision(mirror):
    """The same weights in torchvision's raft_small, whose state dict has other names."""
    try:
        from torchvision.models.optical_flow import raft_small
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"torchvision does not import here: {error}")
    ours, theirs = load_raft(True, mirror / "raft-small.pth"), raft_small().eval()
    # Both list their tensors in the order of construction; shapes pair them up within a block.
    values = list(ours.state_dict().values())
    names = [n for n in theirs.state_dict() if not n.endswith("num_batches_tracked")]
    assert [v.shape for v in values] == [theirs.state_dict()[n].shape for n in names]
    theirs.load_state_dict(dict(zip(names, values, strict=True)))
    generator = torch.Generator().manual_seed(0)
    texture = F.avg_pool2d(255 * torch.rand(1, 3, 136, 176, generator=generator), 5, 1, 2)
    first, second = texture[..., :128, :160], texture[..., 3:131, 5:165]
    expected = theirs(first / 127.5 - 1, second / 127.5 - 1, num_flow_updates=12)[-1]
    flow = ours.flow(ours.encode(first), ours.encode(second), (128, 160), 12)
    torch.testing.assert_close(flow, expected, atol=1e-3, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("small", [True, False])
def test_any_size_comes_back_as_it_was(small):
    torch.manual_seed(0)
    model = Raft(small).eval()
    image = 255 * torch.rand(1, 3, 133, 141)
    encoding = model.encode(image)
    assert model.flow(encoding, encoding, (133, 141), 2).shape == (1, 2, 133, 141)


@torch.inference_mode()
@pytest.mark.parametrize("small", [True, False])
def test_gru_with_its_context_apart_is_the_published_one(small):
    """Against gates computed from the concatenated state, context and motion (RAFT, Eq. 3-6)."""
    torch.manual_seed(0)
    gru = Raft(small).update_block.gru
    hidden, context, motion = (torch.randn(2, channels, 7, 9) for channels in gru.splits)
    found = gru(hidden, motion, gru.prepare(context))
    for suffix in gru.passes:
        z, r, q = (gru.get_submodule(f"conv{gate}{suffix}") for gate in "zrq")
        state = torch.cat([hidden, context, motion], 1)
        update, reset = z(state).sigmoid(), r(state).sigmoid()
        candidate = q(torch.cat([reset * hidden, context, motion], 1)).tanh()
        hidden = (1 - update) * hidden + update * candidate
    torch.testing.assert_close(found, hidden, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_flow_is_the_same_whatever_is_held_or_batched(monkeypatch):
    torch.manual_seed(0)
    model = Raft(True).eval()
    images = 255 * torch.rand(4, 3, 133, 141)
    encodings = model.encode(images)
    first, second = (Encoding(*(x[i] for x in encodings)) for i in (slice(3), slice(1, 4)))
    expected = model.flow(first, second, (133, 141), 3)
    for i in range(3):
        one = (Encoding(*(x[j : j + 1] for x in encodings)) for j in (i, i + 1))
        pair = model.flow(*one, (133, 141), 3)
        torch.testing.assert_close(pair, expected[i : i + 1], atol=1e-3, rtol=0)
    # Blocks of 64 of the 306 source pixels: two held, the others made at every update.
    monkeypatch.setattr(correlation, "BLOCK_BYTES", 64 * 3 * pyramid_bytes(17 * 18))
    some = model.flow(first, second, (133, 141), 3, 2 * correlation.BLOCK_BYTES)
    torch.testing.assert_close(some, expected, atol=1e-3, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["dog", "car-roundabout"])
def test_half_precision_hardly_moves_real_flow(mirror, tmp_path, name):
    """Means over 240 x 424 px of 0.011 and 0.040 px were measured, where flows are 2 and 13 px."""
    first, second = (
        F.interpolate(frame, (240, 424), mode="area")
        for frame in frames(mirror, tmp_path, name, 10, 12)
    )
    model = load_raft(True, mirror / "raft-small.pth")
    expected = model.flow(model.encode(first), model.encode(second), (240, 424), 12)
    with torch.autocast("cpu", torch.bfloat16):
        flow = model.flow(model.encode(first), model.encode(second), (240, 424), 12)
    error = (flow.float() - expected).norm(dim=1)
    assert error.mean() < 0.08
    assert error.median() < 0.05


def test_parameter_counts_are_the_published_ones():
    small, large = (sum(p.numel() for p in Raft(s).parameters()) for s in (True, False))
    assert (small, large) == (990_162, 5_257_536)


@torch.inference_mode()
def test_padding_does_not_shift_the_flow(mirror, tmp_path):
    """A crop of odd size has the flow of the whole frame, away from its borders."""
    first, second = frames(mirror, tmp_path, "dog", 10, 11)
    model = load_raft(True, mirror / "raft-small.pth")
    whole = model.flow(model.encode(first), model.encode(second), first.shape[-2:], 12)
    a, b = first[..., 3:400, 5:810], second[..., 3:400, 5:810]
    part = model.flow(model.encode(a), model.encode(b), a.shape[-2:], 12)
    difference = (whole[..., 3:400, 5:810] - part)[..., 40:-40, 40:-40].abs()
    assert difference.median() < 0.1


class Canary:
    """Unpickling it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    path = tmp_path / "raft-small.pth"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"raft-small\.pth is not a torch checkpoint"):
        load_raft(True, path)
    torch.save(Raft(False).state_dict(), path)
    with pytest.raises(ValueError, match=r"does not fit raft_small .*raft-small\.pth"):
        load_raft(True, path)
    torch.save({"weights": np.zeros(3).tolist()}, path)
    with pytest.raises(ValueError, match="does not fit raft_small"):
        load_raft(True, path)
    with path.open("wb") as file:
        pickle.dump(Canary(str(tmp_path / "canary")), file)
    with pytest.raises(ValueError, match="is not a torch checkpoint"):
        load_raft(True, path)
    assert not (tmp_path / "canary").exists()
