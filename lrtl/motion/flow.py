"""Flow estimators and the flow of a sequence at several frame gaps."""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

import lrtl
from lrtl.config import WHOLE, FlowConfig, Part
from lrtl.datasets.fetch import checked_sha256
from lrtl.datasets.layout import Sequence
from lrtl.methods import ESTIMATORS
from lrtl.motion.correlation import HELD_BYTES, pyramid_bytes
from lrtl.motion.learned import autocast
from lrtl.motion.raft import Encoding, load_raft
from lrtl.motion.store import FlowStore

BATCH = 8  # pairs at once, at most: more are no faster


class RaftFlow:
    """RAFT (Teed and Deng 2020); a frame is encoded once for all the pairs it is in."""

    def __init__(self, config: FlowConfig, device: torch.device) -> None:
        self.model = load_raft(config.estimator == "raft_small", Path(config.weights)).to(device)
        self.updates, self.size, self.device = config.updates, config.size, device
        self.precision = config.precision
        free = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else HELD_BYTES
        pixels = math.ceil(self.size[0] / 8) * math.ceil(self.size[1] / 8)
        self.budget, pair = free, pixels * pyramid_bytes(pixels)
        self.batch = min(max(free // (4 * pair), 1), BATCH)  # leaves room for activations

    @torch.inference_mode()
    def encode(self, frame: np.ndarray) -> Encoding:
        """Encode an RGB frame (H, W, 3) uint8."""
        image = torch.from_numpy(frame).permute(2, 0, 1)[None]  # (1, 3, H, W)
        with autocast(self.device, self.precision):
            return self.model.encode(image.to(self.device))

    @torch.inference_mode()
    def flow(self, first: list[Encoding], second: list[Encoding]) -> np.ndarray:
        """Return the flows (B, 2, H, W) float32 in pixels from B frames to B others."""
        frames = [Encoding(*map(torch.cat, zip(*many, strict=True))) for many in (first, second)]
        with autocast(self.device, self.precision):
            flow = self.model.flow(*frames, self.size, self.updates, self.budget)
        return flow.float().cpu().numpy()


class DisFlow:
    """OpenCV's dense inverse search (Kroeger et al. 2016), for machines without RAFT's weights."""

    batch = 1

    def __init__(self, config: FlowConfig, device: torch.device) -> None:
        self.estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.estimator.setFinestScale(0)
        self.estimator.setPatchSize(4)  # smaller than the preset's 8: less blur at edges
        self.estimator.setPatchStride(2)

    def encode(self, frame: np.ndarray) -> np.ndarray:
        """Convert an RGB frame (H, W, 3) uint8 to grey."""
        return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)

    def flow(self, first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
        """Return the flows (B, 2, H, W) float32 in pixels from B frames to B others."""
        pairs = zip(first, second, strict=True)
        return np.stack([self.estimator.calc(a, b, None).transpose(2, 0, 1) for a, b in pairs])


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an RGB frame (H, W, 3) uint8 to `size` = (H, W), averaging when it shrinks."""
    if frame.shape[:2] == tuple(size):
        return frame
    shrinks = frame.shape[0] >= size[0] and frame.shape[1] >= size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(frame, size[::-1], interpolation=method)


def estimate_flow(sequence: Sequence, config: FlowConfig, out: Path, part: Part = WHOLE) -> None:
    """Estimate the flow of every frame of a sequence at every gap into a Zarr store.

    Args:
        sequence: the frames.
        config: estimator, stored size and gaps.
        out: the store, `results/flow/{dataset}/{sequence}/{estimator}.zarr`.
        part: the frames to do; less than all leave the store partial, for a last call to finish.

    Raises:
        ValueError: a flow is not finite or out of range; the pair is named.
    """
    count, size, gaps = len(sequence.frames), tuple(config.size), list(config.gaps)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    estimator = ESTIMATORS[config.estimator](config, device)
    made_by = {
        "estimator": config.estimator,
        "weights_sha256": checked_sha256(Path(config.weights)) if config.weights else None,
        "updates": config.updates,
        "precision": config.precision,
        "gaps": gaps,
        "version": lrtl.__version__,
    }
    store = FlowStore.build(out, count, size, made_by)
    encodings: dict = {}

    def encoding(frame: int):
        if frame not in encodings:
            encodings[frame] = estimator.encode(resize_frame(sequence.frame(frame), size))
        return encodings[frame]

    pairs = [
        (frame, index)
        for frame in part.of(count)
        for index, gap in enumerate(gaps)
        if 0 <= frame + gap < count and not store.is_done(index, frame)
    ]
    with tqdm(total=len(pairs), desc=f"flow {sequence.name}", unit="pair") as bar:
        for start in range(0, len(pairs), estimator.batch):
            batch = pairs[start : start + estimator.batch]
            first = [encoding(frame) for frame, _ in batch]
            second = [encoding(frame + gaps[index]) for frame, index in batch]
            for (frame, index), flow in zip(batch, estimator.flow(first, second), strict=True):
                store.write(index, frame, flow)
            behind = batch[-1][0] - max(map(abs, gaps))
            encodings = {key: value for key, value in encodings.items() if key >= behind}
            bar.update(len(batch))
    if part == WHOLE:
        store.finish()
