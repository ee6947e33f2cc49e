"""Training: one visible loop from motion stores to EMA weights, resumable at any step."""

import math
import signal
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

import lrtl
from lrtl.checkpoints import load_checkpoint, save_checkpoint
from lrtl.config import LossConfig, NetworkConfig, TrainConfig
from lrtl.files import write_csv
from lrtl.methods import NETWORKS
from lrtl.models import backbone_sha256
from lrtl.objective import loss_terms
from lrtl.runs import save_run, settings_text
from lrtl.samples import Motion, Quads

EMA_CAP = 0.9999
REMEDY = "lower training.learning_rate"
READ_EVERY = 25  # steps between readings of losses, for which a GPU is waited for


class Batches(Dataset):
    """The batch of every step; it depends on the seed and the step alone."""

    def __init__(self, quads: Quads, seed: int) -> None:
        self.quads, self.seed = quads, seed

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        return self.quads.batch(np.random.default_rng([self.seed, step]))


def train(
    motions: list[Motion],
    network: NetworkConfig,
    losses: LossConfig,
    training: TrainConfig,
    seed: int,
    out: Path,
    stop: Event | None = None,
) -> None:
    """Train a segmenter on the motion of its sequences and save its EMA weights.

    Writes `weights.safetensors`, `metrics.csv` and `config.yaml` into `out`. A checkpoint beside
    it, `{out}.checkpoint`, lets a killed run go on; on CPU the result is the same bit by bit. Once
    `stop` is set, the step that runs is finished, a checkpoint written and the run given up.

    The losses of up to `READ_EVERY` steps are read together, for which alone, beside its matrix
    decompositions, the loop waits for a GPU; one that diverged takes the steps up to the next
    reading too, but saves none of them.

    Raises:
        FloatingPointError: the loss or its gradient is not finite; the step is named.
        InterruptedError: it was told to stop; the step it goes on from is named.
    """
    settings = _settings(motions, network, losses, training, seed)
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.manual_seed(seed)
    model = NETWORKS[network.network](network)
    model = model.to(device, memory_format=torch.channels_last)
    average = deepcopy(model) if training.ema_every else model
    optimizer = torch.optim.AdamW(parameter_groups(model, training.weight_decay))
    batches = Batches(Quads(motions, losses, training), seed)

    checkpoint = Path(f"{out}.checkpoint")
    start, metrics, unread = 0, [], []
    if (state := load_checkpoint(checkpoint, settings)) is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start, metrics = state["step"], state["metrics"]

    steps = range(start, training.steps)
    loader = DataLoader(
        batches,
        None,
        sampler=steps,
        num_workers=training.workers,
        pin_memory=on_gpu,
        worker_init_fn=_outlive_sigterm,
    )
    bar = tqdm(loader, "train", training.steps, initial=start, unit="step")
    for step, batch in zip(steps, bar, strict=True):
        batch = {key: value.to(device, non_blocking=on_gpu) for key, value in batch.items()}
        torch.manual_seed(seed * 2**32 + step)  # dropout, too, depends on seed and step alone
        with torch.autocast(device.type, torch.bfloat16, training.precision == "bfloat16"):
            logits = model(batch["frames"].float())  # (B, K, h, w)
        masks = logits.float().softmax(1)
        terms = _terms(masks, batch, losses, step, unread, out)

        rate = learning_rate(step, training)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        terms["loss"].backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip)
        optimizer.step()
        if training.ema_every and (step + 1) % training.ema_every == 0:
            update_average(average, model, ema_decay(step + 1, training))

        terms = {name: term.detach() for name, term in terms.items()}
        unread.append({"step": step, **terms, "rate": rate, "gradient_norm": norm})
        last = step + 1 == training.steps
        stopping = stop is not None and stop.is_set()
        saving = (stopping or (step + 1) % training.checkpoint_every == 0) and not last
        if saving or last or len(unread) == READ_EVERY:
            metrics += read_metrics(unread, out)
            unread = []
            bar.set_postfix({name: f"{metrics[-1][name]:.3g}" for name in terms}, refresh=False)
        if saving:
            state = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "metrics": metrics,
                "step": step + 1,
                "settings": settings,
            }
            save_checkpoint(checkpoint, state)
            if stopping:
                raise InterruptedError(f"stopped; run again, it goes on from step {step + 1}")

    write_csv(pd.DataFrame(metrics), out / "metrics.csv")
    save_run(out, average, settings)
    checkpoint.unlink(missing_ok=True)


def _terms(masks: Tensor, batch: dict, losses: LossConfig, step: int, unread: list, out: Path):
    """The loss terms; the first step that diverged is named where they cannot be computed."""
    try:
        return loss_terms(masks, batch, losses, step)
    except torch.linalg.LinAlgError as error:
        read_metrics(unread, out)
        raise FloatingPointError(f"{out}, step {step}: {error}; {REMEDY}") from error


def read_metrics(rows: list[dict], out: Path) -> list[dict]:
    """Rows with numbers for their scalar tensors, fetched from the device all at once.

    Raises:
        FloatingPointError: a gradient norm is not finite; the first such step is named.
    """
    if not rows:
        return []
    names = [name for name, value in rows[0].items() if isinstance(value, Tensor)]
    values = torch.stack([row[name] for row in rows for name in names]).view(len(rows), -1)
    rows = [
        row | dict(zip(names, numbers, strict=True))
        for row, numbers in zip(rows, values.tolist(), strict=True)
    ]
    for row in rows:
        if not math.isfinite(row["gradient_norm"]):
            loss, norm = row["loss"], row["gradient_norm"]
            where = f"{out}, step {row['step']}"
            raise FloatingPointError(f"{where}: loss {loss}, gradient norm {norm}; {REMEDY}")
    return rows


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weights of convolutions and linear layers decay; norms, biases and embeddings do not.

    Released, biases decay as well. Frozen parameters are in no group.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    embeddings = {p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    decayed, kept = [], []
    for name, p in trained.items():
        bare = p.ndim <= 1 or p in embeddings or name.endswith("relative_position_bias_table")
        (kept if bare else decayed).append(p)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


def learning_rate(step: int, training: TrainConfig) -> float:
    """Linear warm-up, then polynomial decay towards zero at `decay_steps`."""
    warmup = min(1.0, (step + 1) / max(training.warmup_steps, 1))
    decay = (1 - step / training.decay_steps) ** training.decay_power
    return training.learning_rate * warmup * decay


def ema_decay(step: int, training: TrainConfig) -> float:
    """Decay 1 - (step - warmup)^-power of the moving average; 0, a copy, during the warm-up."""
    after = step - training.ema_warmup
    return min(1 - after**-training.ema_power, EMA_CAP) if after >= 1 else 0.0


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged weights and batch statistics towards the model's, in place."""
    current = model.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])


def _outlive_sigterm(worker: int) -> None:
    """A scheduler signals every process of a job, but the loop decides when its workers end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _settings(
    motions: list[Motion],
    network: NetworkConfig,
    losses: LossConfig,
    training: TrainConfig,
    seed: int,
) -> str:
    """All that a run's weights depend on, as YAML."""
    settings = {
        "network": asdict(network) | {"backbone_weights": backbone_sha256(network)},
        "losses": asdict(losses),
        "training": {k: v for k, v in asdict(training).items() if k != "workers"},
        "seed": seed,
        "version": lrtl.__version__,
        "sequences": [motion.flow.path.parent.name for motion in motions],
        "flow": motions[0].flow.attributes,
        "tracks": motions[0].tracks.attributes,
    }
    return settings_text(settings)
