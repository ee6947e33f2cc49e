"""What a training draws: quads of frames with their flow and tracks, and what it makes of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lrtl.losses import flow_loss
from lrtl.motion.reading import read_flow, read_tracks
from lrtl.samples import Quads
from lrtl.train import loss_terms
from tests.small import LOSSES, TRAINING


def test_two_flows_per_image_are_of_two_gaps(motions):
    """The first and all else are drawn as ever; where there is one gap alone it counts twice."""
    single = Quads(motions, LOSSES, TRAINING)
    quads = Quads(motions, LOSSES, replace(TRAINING, flows_per_image=2))
    rng = np.random.default_rng(0)
    middle = quads._image(rng, 0, 5, 1, 5, flip=False)
    np.testing.assert_array_equal(middle["flow"], quads._flow(0, 5, 1))
    np.testing.assert_array_equal(middle["second_flow"], quads._flow(0, 5, -1))
    first = quads._image(rng, 0, 0, 1, 5, flip=True)
    np.testing.assert_array_equal(first["second_flow"], first["flow"])
    pair, alone = (q._image(np.random.default_rng(1), 0, 5, 1, 5, True) for q in (quads, single))
    assert set(pair) - set(alone) == {"second_flow"}
    for key, value in alone.items():
        np.testing.assert_array_equal(pair[key], value)
    mirrored = -quads._flow(0, 5, -1)[0, :, ::-1]
    np.testing.assert_array_equal(pair["second_flow"][0], mirrored)


def test_batches_depend_on_seed_and_step_alone(motions):
    def draw():
        quads = Quads(motions, LOSSES, replace(TRAINING, quads=2))
        return quads.batch(np.random.default_rng([0, 7]))

    first, second = draw(), draw()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert first["frames"].shape == (8, 3, 48, 80)
    assert first["tracks"].shape == (8, 13, 2, 64)


def test_quads_draw_the_gaps_they_are_told(motions, monkeypatch):
    """Other flow in the store, as the gap of 1 for chained tracks, is not trained on."""
    monkeypatch.setitem(motions[0].flow.attributes, "gaps", [-3, -2, -1, 1, 2, 3])
    quads = Quads(motions, LOSSES, replace(TRAINING, quad_gaps=(3, 2)))
    assert {gap for _, _, gap in quads.items} == {2, 3}
    with pytest.raises(ValueError, match=r"flow.zarr has flow of gaps .*need both signs of \[4\]"):
        Quads(motions, LOSSES, replace(TRAINING, quad_gaps=(4,)))


def test_a_flipped_quad_is_the_mirrored_one(motions):
    plain, mirrored = (
        Quads(motions, LOSSES, replace(TRAINING, flip=p)).batch(np.random.default_rng([0, 3]))
        for p in (0.0, 1.0)
    )
    np.testing.assert_array_equal(mirrored["frames"], plain["frames"][..., ::-1])
    np.testing.assert_array_equal(mirrored["flow"][:, 0], -plain["flow"][:, 0, :, ::-1])
    np.testing.assert_allclose(mirrored["points"][:, 0], -plain["points"][:, 0], atol=1e-6)
    np.testing.assert_allclose(mirrored["tracks"][:, :, 0], 853 - plain["tracks"][:, :, 0])
    masks = torch.rand(4, 3, 48, 80).softmax(1)
    here = loss_terms(masks, _tensors(plain), LOSSES)
    there = loss_terms(masks.flip(-1), _tensors(mirrored), LOSSES)
    # The trajectory loss is of positions as they are, not centred: mirrored, it is not the same.
    for name in ("flow", "smoothness"):
        torch.testing.assert_close(here[name], there[name], rtol=1e-3, atol=0)


def test_a_centred_flow_is_clipped_less_and_explained_as_well(motions):
    """The flow loss does not change with what all pixels share; the clipping does."""
    fast = np.float32([[[40]], [[-30]]])  # px of the reference frame
    store = Moved(motions[0].flow, fast)
    centred, wide = (replace(LOSSES, flow_centre="median", flow_clip=c) for c in (20.0, 1e3))
    masks = torch.rand(1, 2, 90, 160).softmax(1)

    def read(losses, source=store):
        return torch.from_numpy(read_flow(source, 5, 1, (90, 160), losses))[None]

    assert (read(LOSSES).abs() == 20).any(1).float().mean() > 0.9
    torch.testing.assert_close(read(centred), read(centred, motions[0].flow), atol=1e-4, rtol=0)
    plain = flow_loss(masks, read(replace(wide, flow_centre="none")))
    torch.testing.assert_close(flow_loss(masks, read(wide)), plain, rtol=1e-3, atol=1e-5)


class Moved:
    """A flow store whose camera moves faster by `offset` px of the reference frame."""

    def __init__(self, store, offset):
        self.store, self.offset = store, offset * np.float32([[[160 / 854]], [[90 / 480]]])

    def read(self, frame, gap):
        return self.store.read(frame, gap) + self.offset


def test_smoothness_compares_the_frames_of_a_quad_that_belong_together(motions):
    """Zero for masks that are the same in F and F+d, whatever F+g and F+d+g hold."""
    quads = Quads(motions, LOSSES, replace(TRAINING, quads=2, flip=0.0))
    batch = _tensors(quads.batch(np.random.default_rng(0)))
    colour = torch.tensor([[1.0, 0, 0], [0, 1, 0]] * 2 * 2)
    masks = colour[:, :, None, None].expand(8, 3, 48, 80)
    alone = replace(LOSSES, flow_weight=0.0, trajectory_weight=0.0)
    assert loss_terms(masks, batch, alone)["smoothness"] < 1e-12
    colour = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]] * 2)
    masks = colour[:, :, None, None].expand(8, 3, 48, 80)
    # Two components differ by one each: squared sum 2, over four terms of a quarter.
    assert loss_terms(masks, batch, alone)["smoothness"].item() == pytest.approx(2)


def test_drawn_tracks_are_those_of_the_store(motions):
    """Positions and their average, drawn before they are summed, against the whole window's."""
    positions, visibility, _, index = motions[0].tracks.read(20)
    tracks = read_tracks(motions[0].tracks, 20, LOSSES)
    assert (visibility.mean(0) >= 0.7).nonzero()[0].tolist() == tracks.usable.tolist()
    columns = tracks.usable[[5, 3, 5]]
    scale = np.array([[853 / 159], [479 / 89]])
    drawn = tracks.positions(columns)
    np.testing.assert_allclose(tracks.pixels(drawn), positions[..., columns] * scale, rtol=1e-6)
    assert tracks.query_index == index


def _tensors(batch):
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in batch.items()}
