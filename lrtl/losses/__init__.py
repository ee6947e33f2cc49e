"""Losses: pure functions of tensors, each with its equation number."""

from lrtl.losses.flow import flow_loss
from lrtl.losses.smoothness import smoothness_loss
from lrtl.losses.trajectory import trajectory_loss

__all__ = ["flow_loss", "smoothness_loss", "trajectory_loss"]
