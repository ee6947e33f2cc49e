"""RAFT: what is saved by sharing between pairs."""

import time

import torch

from lrtl.motion.correlation import HELD_BYTES, Correlations
from lrtl.motion.raft import Raft, upsample_convex


def raft_speed():
    """raft_large at four gaps, against pairs that share nothing as in the published loop."""
    torch.manual_seed(0)
    model, size, updates = Raft(small=False).eval().requires_grad_(False), (240, 424), 20
    images = 255 * torch.rand(5, 1, 3, *size)
    pairs = [(t, t + gap) for t in range(5) for gap in (-2, -1, 1, 2) if 0 <= t + gap < 5]
    with torch.inference_mode():
        start = time.perf_counter()
        apart = [published_pair(model, images[a], images[b], size, updates) for a, b in pairs]
        middle = time.perf_counter()
        frames = [model.encode(image) for image in images]
        shared = [model.flow(frames[a], frames[b], size, updates) for a, b in pairs]
        end = time.perf_counter()
    error = max((a - b).abs().max().item() for a, b in zip(apart, shared, strict=True))
    case = "raft_large, 20 updates, 240x424, gaps +-1 and +-2 of 5 frames"
    yield "raft_shared_speedup", (middle - start) / (end - middle), "ratio", f"pairwise, {case}"
    yield "raft_shared_error", error, "px", f"pairwise, {case}, random weights"


def published_pair(model, first, second, size, updates):
    """The flow of a pair as the published loop computes it, everything again for every update."""
    images = torch.cat([first, second]) / 127.5 - 1  # sides are multiples of 8: no padding
    features = model.fnet(images)
    hidden, context = model.cnet(images[:1]).split([model.hidden, model.context], 1)
    hidden, context = torch.tanh(hidden), torch.relu(context)
    correlations = Correlations(features[:1], features[1:], model.radius, HELD_BYTES)
    flow, block = torch.zeros_like(hidden[:, :2]), model.update_block
    for _ in range(updates):
        motion = block.encoder(flow, correlations.around(flow))
        for suffix in block.gru.passes:
            z, r, q = (block.gru.get_submodule(f"conv{gate}{suffix}") for gate in "zrq")
            state = torch.cat([hidden, context, motion], 1)
            update, reset = z(state).sigmoid(), r(state).sigmoid()
            candidate = q(torch.cat([reset * hidden, context, motion], 1)).tanh()
            hidden = (1 - update) * hidden + update * candidate
        flow = flow + block.flow_head(hidden)
        full = upsample_convex(flow, 0.25 * block.mask(hidden))
    return full
