"""`lrtl predict`: a trained segmenter on new images and videos, without their motion.

What is foreground is decided by motion in training alone: a component's share is that of its pixels
which became foreground, averaged over the training's sequences. On new frames a pixel is foreground
where its soft masks, weighted by their components' shares, add up to more than a half.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from lrtl.datasets.clips import check_apart, decode, find_clips, frame_rate, is_image, name_of
from lrtl.datasets.layout import read_mask, write_mask
from lrtl.figures import draw_foreground, overlay_line, write_video
from lrtl.files import checked, read_csv, whole_file, whole_folder, write_csv
from lrtl.masks import BATCH, soft_masks
from lrtl.runs import load_run

SHARES = "foreground.csv"
PRESENT = 1e-3  # of a sequence's pixels; a component with fewer has no say there


def write_foreground(masks: list[Path], components: list[Path], out: Path) -> None:
    """Write how much of each component became foreground in the sequences of a training.

    Columns: `component`; `sequences`, in how many it is present; `share`, the mean over them of the
    share of its pixels that are foreground. Sequences in which nothing moved, with no foreground at
    all, are left out, as are components that are nowhere present. No ground truth is read.

    Args:
        masks: folders of the foreground masks of the sequences.
        components: folders of their components, in the same order.
        out: the CSV file, `foreground.csv` in the run's folder.
    """
    shares = []  # (256,) of each sequence, nan where a component is not present
    for folder, labels in zip(map(checked, masks), map(checked, components), strict=True):
        total, foreground = np.zeros(256), np.zeros(256)
        for path in sorted(folder.glob("*.png")):
            mask = read_mask(path) > 0
            ids = read_mask(labels / path.name, mask.shape)
            total += np.bincount(ids.ravel(), minlength=256)
            foreground += np.bincount(ids[mask], minlength=256)
        if foreground.any():
            present = total > PRESENT * total.sum()
            shares.append(np.where(present, foreground / total.clip(1), np.nan))
    table = pd.DataFrame(shares).melt(var_name="component", value_name="share").dropna()
    table = table.groupby("component")["share"].agg(sequences="count", share="mean")
    write_csv(table.reset_index().round(6), out)


def predict_paths(
    run: Path, paths: list[Path], out: Path, backbone_weights: str | None = None
) -> None:
    """Write the foreground of images, videos and folders of frames.

    Writes to `out` for each: `{name}/`, an indexed PNG per frame, and the overlay, `{name}.png` of
    an image and `{name}.mp4` of anything else. What is there already is never replaced.

    Args:
        run: the folder of a run, or `weights.safetensors` in it.
        paths: images, videos, folders of frames, or folders of videos and such folders.
        out: a folder; none of the inputs is in it.
        backbone_weights: the file of weights that the network was built on, if it was.

    Raises:
        ValueError: the run is not whole, an input cannot be read, or an output is there already.
    """
    clips = [clip for path in paths for clip in _find(path)]
    outputs = _outputs(clips, Path(out))
    run = run.parent if run.name == "weights.safetensors" else run
    model, network, _ = load_run(run, backbone_weights)
    shares = read_shares(run, network.components)
    for clip, (folder, overlay) in zip(clips, outputs, strict=True):
        with whole_folder(folder) as masks, whole_file(overlay, record=False) as file:
            pictures = segment_frames(model, clip, network.input_size, shares, masks)
            if overlay.suffix == ".mp4":
                write_video(pictures, file, frame_rate(clip))
            else:
                (picture,) = pictures
                Image.fromarray(picture).save(file)
    print(f"Done: {', '.join(str(overlay) for _, overlay in outputs)}")


def read_shares(run: Path, components: int) -> Tensor:
    """How much of each component (K,) was foreground in training; 0 of what was never present."""
    path = run / SHARES
    if not path.exists():
        remedy = (
            f"make it where the run was trained: `snakemake {path}`, or `lrtl segment` again; "
            "beside a converted run with `lrtl masks` and `lrtl foreground`"
        )
        raise ValueError(f"{path} is missing, it says which components are foreground; {remedy}")
    shares = torch.zeros(components)
    for row in read_csv(path).itertuples():
        shares[row.component] = row.share
    if not (shares > 0.5).any():
        print(f"{path}: no component was mostly foreground; masks will be empty")
    return shares


def segment_frames(
    model: nn.Module, clip: Path, size: tuple[int, int], shares: Tensor, masks: Path
) -> Iterator[np.ndarray]:
    """Write the mask of every frame of a clip and yield its overlay (H, W, 3) uint8.

    Args:
        model: the network.
        clip: an image, a video or a folder of frames.
        size: height and width of the network's input.
        shares: (K,) how much of each component is foreground.
        masks: a folder.
    """
    frames, count = iter(tqdm(decode(clip), clip.name, unit="frame")), 0
    while batch := list(islice(frames, BATCH)):
        soft = (soft_masks(model, batch, size) * shares[:, None, None]).sum(1, keepdim=True)
        height, width = batch[0].shape[:2]
        large = F.interpolate(soft, (height, width), mode="bilinear")[:, 0]  # (B, H, W)
        for frame, mask in zip(batch, (large > 0.5).numpy(), strict=True):
            write_mask(masks / f"{count:05d}.png", mask)
            yield draw_foreground(frame, mask, None, overlay_line(width))
            count += 1


def _find(path: Path) -> list[Path]:
    """The image or the clips at a path."""
    return [path] if is_image(path) else find_clips(path)


def _outputs(clips: list[Path], out: Path) -> list[tuple[Path, Path]]:
    """The folder of masks and the overlay of each clip; stop if anything would be replaced."""
    check_apart(clips, out)
    outputs: list[tuple[Path, Path]] = []
    for clip in clips:
        folder = out / name_of(clip)
        outputs.append((folder, folder.with_suffix(".png" if is_image(clip) else ".mp4")))
    names = [folder for folder, _ in outputs]
    for folder, overlay in outputs:
        if names.count(folder) > 1:
            raise ValueError(f"two inputs are called {folder.name}; rename one of them")
        for path in (folder, overlay):
            if path.exists():
                raise ValueError(f"{path} is there already; remove it, or name another with -o")
    return outputs
