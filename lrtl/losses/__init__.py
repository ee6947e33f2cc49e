"""Losses: pure functions of tensors, each with its equation number."""

from lrtl.losses.flow import flow_loss
from lrtl.losses.smoothness import smoothness_loss
from lrtl.losses.track_flow import track_flow_loss
from lrtl.losses.trajectory import perspective_loss, reconstruction_loss, trajectory_loss

__all__ = [
    "flow_loss",
    "perspective_loss",
    "reconstruction_loss",
    "smoothness_loss",
    "track_flow_loss",
    "trajectory_loss",
]
