"""The losses of a training step at the papers' size, against the released code's way.

Both run in processes of their own, in turn, on the same inputs, since memory freed by one would
hide what the other takes: `python -m tests.benchmarks.step ours`.
"""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from lrtl.config import LossConfig
from lrtl.objective import loss_terms
from lrtl.settings import resolve

ROOT = Path(__file__).parents[2]
ROUNDS = 3
BATCH, COMPONENTS, FRAMES, TRACKS, INPUT, FLOW = 8, 4, 41, 25_680, (192, 352), (480, 854)


def step_losses():
    """Seconds and memory of the losses' forward and backward pass, ours over the released."""
    runs = {"ours": [], "released": []}
    for _ in range(ROUNDS):
        for name, figures in runs.items():
            command = [sys.executable, "-m", "tests.benchmarks.step", name]
            printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            figures.append([float(figure) for figure in printed.stdout.split()])
    (seconds, megabytes), (theirs, their_megabytes) = (
        map(statistics.median, zip(*figures, strict=True)) for figures in runs.values()
    )
    case = "flow, trajectory and smoothness losses forward and backward, B=8, K=4, masks 192x352, "
    case += "flow 480x854, N=25680, T=41, CPU time of 1 thread"
    yield "step_loss_seconds", seconds, "s", case
    yield "step_loss_speedup", theirs / seconds, "ratio", f"QR and float32 svdvals, {case}"
    yield "step_loss_megabytes", megabytes, "MB", f"peak above the inputs, {case}"
    yield "step_loss_memory_ratio", megabytes / their_megabytes, "ratio", f"of theirs, {case}"


def main() -> None:
    """Print the CPU seconds of a step's losses, done again, and their peak above the inputs."""
    torch.set_num_threads(1)
    losses = LossConfig(
        **resolve(yaml.safe_load((ROOT / "config.yaml").read_text()), "davis")["losses"]
    )
    loss = {"ours": loss_terms, "released": released_terms}[sys.argv[1]]
    batch = inputs()
    logits = torch.randn(BATCH, COMPONENTS, *INPUT).requires_grad_()
    before = resident_megabytes()
    for _ in range(2):
        start = time.process_time()
        loss(logits.softmax(1), batch, losses)["loss"].backward()
        seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(seconds, peak - before)


def inputs() -> dict[str, Tensor]:
    """A batch without structure, made in place so that making it leaves no peak behind."""
    torch.manual_seed(0)
    return {
        "flow": torch.randn(BATCH, 2, *FLOW).mul_(5),
        "points": torch.rand(BATCH, 2, TRACKS).mul_(2).sub_(1),
        "later_points": torch.rand(BATCH, 2, TRACKS).mul_(2).sub_(1),
        "tracks": torch.rand(BATCH, FRAMES, 2, TRACKS).mul_(400),
        "visible": torch.rand(BATCH, TRACKS) < 0.9,
    }


def resident_megabytes() -> float:
    """Memory of this process that is in use now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def released_terms(masks: Tensor, batch: dict[str, Tensor], losses: LossConfig) -> dict:
    """The same sum of losses as the released code takes it: masked copies, in float32."""
    flow = released_flow(masks, batch["flow"])
    points = batch["points"].mT[:, None]  # (B, 1, N, 2)
    sampled = F.grid_sample(masks, points, padding_mode="border", align_corners=True)[:, :, 0]
    sampled = sampled.clamp(1e-6, 1 - 1e-6)
    matrices = batch["tracks"].flatten(1, 2)[:, None] * sampled[:, :, None]  # (B, K, 2T, N)
    trajectory = torch.linalg.svdvals(matrices)[..., losses.rank :].sum(-1).mean()
    smoothness = loss_terms(masks, batch, smoothness_alone(losses))["loss"]
    return {
        "loss": losses.flow_weight * flow
        + losses.trajectory_weight * (70_000 / TRACKS) ** 0.5 * trajectory
        + smoothness
    }


def released_flow(masks: Tensor, flow: Tensor) -> Tensor:
    """Models fitted by the QR decomposition of a masked basis per segment; residual of the sum."""
    height, width = flow.shape[-2:]
    weights = F.interpolate(masks, (height, width), mode="bilinear").flatten(2)[..., None]
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    basis = torch.stack([x, y, x * x, y * y, x * y, torch.ones_like(x)], -1).flatten(0, 1)
    embedded = weights * basis  # (B, K, HW, 6)
    target = flow.flatten(2).mT[:, None]  # (B, 1, HW, 2)
    orthonormal, upper = torch.linalg.qr(embedded)
    theta = torch.linalg.inv(upper) @ (orthonormal.mT @ (weights * target))  # (B, K, 6, 2)
    return F.mse_loss((embedded @ theta).sum(1), target[:, 0])


def smoothness_alone(losses: LossConfig) -> LossConfig:
    """It is the same loss in both."""
    return LossConfig(**vars(losses) | {"flow_weight": 0.0, "trajectory_weight": 0.0})


if __name__ == "__main__":
    main()
