"""Trained network -> K components per frame -> foreground masks, one decision per video."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from lrtl.config import LossConfig, MergeConfig, NetworkConfig
from lrtl.datasets.layout import Sequence, write_mask
from lrtl.files import check_file, whole_folder
from lrtl.merge import merge_components
from lrtl.models import NETWORKS, backbone_sha256
from lrtl.motion.flow import resize_frame
from lrtl.motion.store import FlowStore
from lrtl.samples import read_flow

BATCH = 8


def load_run(
    run: Path, backbone_weights: str | None = None
) -> tuple[torch.nn.Module, NetworkConfig, LossConfig]:
    """Load the EMA network of a training run with the settings it was trained under.

    Args:
        run: the folder.
        backbone_weights: the file of weights that the network was built on, if it was.

    Raises:
        ValueError: the folder is not a finished run, or damaged, or of another backbone.
    """
    try:
        check_file(run / "config.yaml")
        check_file(run / "weights.safetensors")
        settings = yaml.safe_load((run / "config.yaml").read_text())
        weights = load_file(run / "weights.safetensors")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{run} is not a finished run ({error}); train it again") from error
    trained = _tuples(settings["network"])
    network = NetworkConfig(**trained | {"backbone_weights": backbone_weights})
    found, expected = backbone_sha256(network), trained["backbone_weights"]
    if found != expected:
        raise ValueError(
            f"{run} was trained on backbone weights of sha256 {expected}, {backbone_weights} has "
            f"{found}; fetch the file again, or train again"
        )
    model = NETWORKS[network.network](network)
    model.load_state_dict(weights)
    return model.eval(), network, LossConfig(**_tuples(settings["losses"]))


@torch.inference_mode()
def predict(model: torch.nn.Module, sequence: Sequence, size: tuple[int, int]) -> Tensor:
    """Soft masks (F, K, h, w) of all frames of a sequence at network size (h, w)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, masks = model.to(device), []
    for start in tqdm(range(0, len(sequence.frames), BATCH), f"predict {sequence.name}"):
        batch = range(start, min(start + BATCH, len(sequence.frames)))
        frames = np.stack([resize_frame(sequence.frame(i), size) for i in batch])
        frames = torch.from_numpy(frames).permute(0, 3, 1, 2).float().to(device)
        masks.append(model(frames).softmax(1).cpu())
    return torch.cat(masks)


def segment(
    run: Path,
    sequence: Sequence,
    flow: FlowStore,
    config: MergeConfig,
    out_masks: Path,
    out_components: Path,
    backbone_weights: str | None = None,
) -> None:
    """Write the foreground masks and components of every frame as indexed PNGs at original size.

    The flow decides which components make up the foreground, once for the video: see
    `lrtl.merge`. `backbone_weights` is for `load_run`. No ground truth is read.
    """
    model, network, losses = load_run(run, backbone_weights)
    masks = predict(model, sequence, network.input_size)
    gap = min(g for g in flow.attributes["gaps"] if g > 0)
    pairs = range(len(masks) - gap)
    flows = np.stack([read_flow(flow, t, gap, network.input_size, losses) for t in pairs])
    foreground = merge_components(masks[: len(flows)], torch.from_numpy(flows), config.affinity)
    names = ", ".join(map(str, np.flatnonzero(foreground)))
    print(f"{sequence.name}: components {names} of {masks.shape[1]} are foreground")
    with whole_folder(out_masks) as binaries, whole_folder(out_components) as labels:
        for name, soft in zip(sequence.frames, masks, strict=True):
            size = (sequence.height, sequence.width)
            soft = F.interpolate(soft[None], size, mode="bilinear")[0]  # (K, H, W)
            binary = soft[torch.from_numpy(foreground)].sum(0) > 0.5
            write_mask(binaries / f"{name}.png", binary.numpy().astype(np.uint8))
            write_mask(labels / f"{name}.png", soft.argmax(0).numpy().astype(np.uint8))


def _tuples(section: dict) -> dict:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in section.items()}
