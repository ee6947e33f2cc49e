"""What training minimises: the weighted sum of losses that the config asks for."""

from torch import Tensor

from lrtl.config import LossConfig
from lrtl.losses import (
    flow_loss,
    perspective_loss,
    reconstruction_loss,
    smoothness_loss,
    track_flow_loss,
    trajectory_loss,
)

RAMP_START = 0.001  # of the smoothness loss's weight, the released code's


def loss_terms(masks: Tensor, batch: dict[str, Tensor], losses: LossConfig, step: int = 0) -> dict:
    """The weighted sum of losses, `loss`, and the losses in it, unweighted, by name.

    Args:
        masks: (B, K, h, w) soft masks.
        batch: what `lrtl.samples.Quads.batch` draws, as tensors.
        losses: a loss without a weight is not computed.
        step: of the training, for the smoothness loss's ramp.
    """
    motion = batch["points"], batch["tracks"]
    matrices = masks.shape[1] if losses.over_components == "sum" else 1
    terms = {}
    if losses.flow_weight:
        terms["flow"] = losses.flow_weight, _flow(masks, batch, losses)
    if losses.trajectory_weight:
        value = matrices * trajectory_loss(masks, *motion, losses.rank)
        terms["trajectory"] = losses.trajectory_weight, value
    if losses.smoothness_weight:
        weight = losses.smoothness_weight * smoothness_ramp(step, losses.smoothness_ramp)
        terms["smoothness"] = weight, _smoothness(masks, batch)
    if losses.reconstruction_weight:
        value = matrices * reconstruction_loss(masks, *motion, losses.rank)
        terms["reconstruction"] = losses.reconstruction_weight, value
    if losses.perspective_weight:
        value = matrices * perspective_loss(masks, *motion)
        terms["perspective"] = losses.perspective_weight, value
    if losses.track_flow_weight:
        value = track_flow_loss(masks, *motion, losses.flow_model)
        terms["track_flow"] = losses.track_flow_weight, value
    loss = sum(weight * value for weight, value in terms.values())
    return {"loss": loss} | {name: value for name, (_, value) in terms.items()}


def smoothness_ramp(step: int, steps: int) -> float:
    """Share of the smoothness loss's weight: rising linearly from `RAMP_START` to 1 in `steps`."""
    return RAMP_START + (1 - RAMP_START) * min(step / steps, 1) if steps else 1.0


def _flow(masks: Tensor, batch: dict[str, Tensor], losses: LossConfig) -> Tensor:
    """Mean of the flow losses of an image's one or two flows."""
    flows = [batch[key] for key in ("flow", "second_flow") if key in batch]
    values = [flow_loss(masks, flow, losses.flow_model, losses.flow_loss) for flow in flows]
    return sum(values) / len(values)


def _smoothness(masks: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Smoothness loss of the two pairs of a quad, in both directions."""
    # Quads are [F, F+g, F+d, F+d+g]: the partner of each image is two further on, or back.
    later = masks.unflatten(0, (-1, 2, 2)).flip(1).flatten(0, 2)
    points = batch["points"], batch["later_points"]
    return 4 * smoothness_loss(masks, later, *points, batch["visible"])
