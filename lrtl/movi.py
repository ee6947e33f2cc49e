"""Segmenting a video by its exact trajectories: the trajectory loss alone, and what it beats."""

from pathlib import Path

import numpy as np
import torch
from tqdm import trange

from lrtl.baselines.clustering import cluster
from lrtl.config import MoviConfig
from lrtl.datasets.movi import read_video
from lrtl.datasets.trajectories import RigidVideo, trajectories
from lrtl.files import whole_file
from lrtl.losses import trajectory_loss
from lrtl.models.unet import UNet

SEGMENTERS = ("kmeans", "ssc", "lrr", "lsr", "lrtl")
REACH = 20  # frame sizes; positions further away are put there, as in the released code


def segment_video(path: Path, method: str, config: MoviConfig, out: Path) -> None:
    """Segment a video and write its labels.

    `out` is .npz: `labels` (C, F, H, W) uint8, `clusters` (C,) their numbers of clusters, `frames`
    (F,) which frames of the video they are of.
    """
    if method not in SEGMENTERS:
        raise ValueError(f"unknown method {method!r}; one of {', '.join(SEGMENTERS)}")
    video = read_video(path)
    frames = np.arange(0, len(video.depth), config.every)
    if method == "lrtl":
        labels, clusters = optimise(video, config)[None, frames], np.array([config.components])
    else:
        height, width = video.size
        maps = (normalised_tracks(video, t).reshape(-1, 2, height, width) for t in frames)
        labels = np.stack([cluster(tracks, method, config) for tracks in maps], 1)
        clusters = np.array(config.clusters)
    with whole_file(out) as temporary:
        np.savez_compressed(temporary, labels=labels, clusters=clusters, frames=frames)


def normalised_tracks(video: RigidVideo, frame: int) -> np.ndarray:
    """Tracks (T, 2, HW) float32 of a frame's pixels in frame widths and heights, [0, 1] inside."""
    height, width = video.size
    positions, _ = trajectories(video, frame, np.arange(height * width))
    positions = (positions + 0.5) / np.array([[width], [height]])
    return positions.clip(-REACH, REACH).astype(np.float32)


def optimise(video: RigidVideo, config: MoviConfig) -> np.ndarray:
    """Train a small U-Net on one video by the trajectory loss alone (Eq. 4, E.4).

    Holds the tracks of all frames, 8 T^2 H W bytes: 75 MB for 24 frames of 128 x 128.

    Returns:
        The component of each pixel, (T, H, W) uint8.

    Raises:
        FloatingPointError: the masks are not finite; the step is named.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    frames, tracks, grid = (part.to(device) for part in _tensors(video))
    model = UNet(config.components, config.width).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    bar = trange(config.steps, desc="lrtl", unit="step")
    for step in bar:
        chosen = torch.from_numpy(rng.permutation(len(frames))[: config.batch]).to(device)
        pixels = torch.from_numpy(rng.permutation(grid.shape[1])[: config.tracks]).to(device)
        masks = model(frames[chosen].float()).softmax(1)  # (B, K, H, W)
        if not masks.isfinite().all():
            raise FloatingPointError(f"{video.name}, step {step}: masks are not finite")
        points = grid[:, pixels].expand(len(chosen), -1, -1)  # (B, 2, N)
        loss = trajectory_loss(masks, points, tracks[chosen][..., pixels], config.rank)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.4g}", refresh=False)
    return predict(model, frames)


@torch.no_grad()
def predict(model: UNet, frames: torch.Tensor) -> np.ndarray:
    """The likeliest component of each pixel of frames (T, 3, H, W) uint8: (T, H, W) uint8."""
    model.eval()
    labels = [model(frame[None].float()).argmax(1)[0] for frame in frames]
    return torch.stack(labels).to(torch.uint8).cpu().numpy()


def _tensors(video: RigidVideo) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames (T, 3, H, W) uint8, tracks (T, T, 2, HW) and the pixels' places (2, HW) in [-1, 1]."""
    height, width = video.size
    frames = torch.from_numpy(video.video.copy()).permute(0, 3, 1, 2)  # (T, 3, H, W)
    tracks = np.stack([normalised_tracks(video, t) for t in range(len(frames))])  # (T, T, 2, HW)
    axes = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)
    grid = torch.stack(torch.meshgrid(*axes, indexing="xy")).flatten(1)  # (2, HW)
    return frames, torch.from_numpy(tracks), grid
