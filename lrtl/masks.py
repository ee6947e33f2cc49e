"""Trained network -> K components per frame -> foreground masks."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lrtl.affinity import appearance_affinity, departure, motion_affinity
from lrtl.config import LossConfig, MergeConfig
from lrtl.datasets.layout import Sequence, write_mask
from lrtl.files import whole_folder
from lrtl.merge import merge_components
from lrtl.models.dino import load_dino
from lrtl.motion.flow import resize_frame
from lrtl.motion.reading import read_flow
from lrtl.motion.store import FlowStore
from lrtl.runs import load_run

BATCH = 8


@torch.inference_mode()
def predict(model: torch.nn.Module, sequence: Sequence, size: tuple[int, int]) -> Tensor:
    """Soft masks (F, K, h, w) of all frames of a sequence at network size (h, w)."""
    masks = []
    for start in tqdm(range(0, len(sequence.frames), BATCH), f"predict {sequence.name}"):
        batch = range(start, min(start + BATCH, len(sequence.frames)))
        masks.append(soft_masks(model, [sequence.frame(i) for i in batch], size))
    return torch.cat(masks)


@torch.inference_mode()
def soft_masks(model: torch.nn.Module, frames: list[np.ndarray], size: tuple[int, int]) -> Tensor:
    """Soft masks (B, K, h, w) of a few frames, RGB (H, W, 3) uint8, at network size (h, w)."""
    device = _device()
    return model.to(device)(_resized(frames, size).to(device)).softmax(1).cpu()


def read_flows(flow: FlowStore, count: int, size: tuple[int, int], losses: LossConfig) -> Tensor:
    """Flow (n, 2, h, w) of the smallest gap, of those of `count` frames that have it."""
    gap = min(g for g in flow.attributes["gaps"] if g > 0)
    flows = [read_flow(flow, t, gap, size, losses) for t in range(count - gap)]
    return torch.from_numpy(np.stack(flows))


@torch.inference_mode()
def affinity_of(masks: Tensor, sequence: Sequence, flows: Tensor, config: MergeConfig) -> Tensor:
    """Affinity (n, K, K) of components in the first n of the frames.

    Args:
        masks: (F, K, h, w) soft masks of all frames; n = F for DINO's keys, and for motion the
            frames that have flow to a later one.
        sequence: the frames.
        flows: (n, 2, h, w) what `read_flows` returns.
    """
    if config.affinity == "motion":
        return motion_affinity(masks[: len(flows)], flows)
    device, affinity, size = _device(), [], tuple(masks.shape[-2:])
    dino = load_dino(config.affinity, Path(config.affinity_weights)).to(device)
    last = (len(dino.blocks) - 1,)
    for t in tqdm(range(len(masks)), f"compare components {sequence.name}"):
        frame = _resized([sequence.frame(t)], size).to(device)
        (keys,) = dino(frame, last)  # (1, C, h', w')
        soft = masks[t : t + 1].to(device)
        affinity.append(appearance_affinity(soft, keys, config.affinity_floor).cpu())
    return torch.cat(affinity)


def write_masks(
    run: Path,
    sequence: Sequence,
    flow: FlowStore,
    config: MergeConfig,
    out_masks: Path,
    out_components: Path,
    backbone_weights: str | None = None,
) -> None:
    """Write the foreground masks and components of every frame as indexed PNGs at original size.

    Affinities decide which components make up the foreground: see `lrtl.merge`. Frames at the end
    that have none follow the last decision. Where the foreground does not move on its own all masks
    are empty: see `still`. `backbone_weights` is for `load_run`. No ground truth is read.
    """
    model, network, losses = load_run(run, backbone_weights)
    masks = predict(model, sequence, network.input_size)
    flows = read_flows(flow, len(masks), network.input_size, losses)
    affinity = affinity_of(masks, sequence, flows, config)
    decisions = merge_components(
        masks[: len(affinity)], affinity, config.grouping, config.decision
    )  # (1 or F, K)
    if config.still and _still(masks, flows, decisions, config.still):
        print(f"{sequence.name}: nothing moves on its own")
        decisions[:] = False
    shares = (f"component {k} ({share:.0%})" for k, share in enumerate(decisions.mean(0)) if share)
    print(f"{sequence.name}: foreground of {len(decisions)} decisions: {', '.join(shares)}")
    with whole_folder(out_masks) as binaries, whole_folder(out_components) as labels:
        for t, (name, soft) in enumerate(zip(sequence.frames, masks, strict=True)):
            size = (sequence.height, sequence.width)
            soft = F.interpolate(soft[None], size, mode="bilinear")[0]  # (K, H, W)
            foreground = torch.from_numpy(decisions[min(t, len(decisions) - 1)])
            binary = soft[foreground].sum(0) > 0.5
            write_mask(binaries / f"{name}.png", binary.numpy().astype(np.uint8))
            write_mask(labels / f"{name}.png", soft.argmax(0).numpy().astype(np.uint8))


def _still(masks: Tensor, flows: Tensor, decisions: np.ndarray, limit: float) -> bool:
    """Whether the foreground departs from the background's motion by less than `limit` px."""
    chosen = torch.from_numpy(decisions[: len(flows)])[:, :, None, None]  # (1 or n, K, 1, 1)
    foreground = (masks[: len(flows)] * chosen).sum(1)  # (n, h, w)
    return departure(foreground, flows).median().item() < limit


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _resized(frames: list[np.ndarray], size: tuple[int, int]) -> Tensor:
    """Frames (B, 3, h, w), RGB in 0..255, at network size."""
    small = np.stack([resize_frame(frame, size) for frame in frames])
    return torch.from_numpy(small).permute(0, 3, 1, 2).float()
