"""What `config.yaml` can name: flow estimators, point trackers and networks, and what they need.

A method is one line here. Its code is imported when it is called, so that the workflow, which reads
this table at every start, waits neither for torch nor for code that is not chosen.
"""

from pkgutil import resolve_name
from typing import Any, NamedTuple


class Method(NamedTuple):
    """Where the code of a method is, and what has to be there before it runs."""

    code: str  # module:callable
    weights: str | None = None  # a published file, a key of WEIGHTS in lrtl/datasets/fetch.py
    environment: str = "lrtl"  # envs/{environment}.yaml, where the workflow runs it

    def __call__(self, *arguments: Any) -> Any:
        """Import the code and call it."""
        return resolve_name(self.code)(*arguments)


# Called with FlowConfig and torch.device; see the classes of lrtl/motion/flow.py.
ESTIMATORS = {
    "raft_large": Method("lrtl.motion.flow:RaftFlow", "raft-things.pth"),
    "raft_small": Method("lrtl.motion.flow:RaftFlow", "raft-small.pth"),
    "dis": Method("lrtl.motion.flow:DisFlow"),
}

_COTRACKER, _TAPIR = "lrtl.motion.cotracker:open_cotracker", "lrtl.motion.tapir:open_tapir"

# Called with the folder of a sequence (chained_flow: with its flow store) and TracksConfig; gives a
# `Tracker` of lrtl/motion/windows.py.
TRACKERS = {
    "chained_flow": Method("lrtl.motion.tracks:ChainedFlow.open"),
    "cotracker2": Method(_COTRACKER, "cotracker2.pth", "cotracker"),
    "cotracker3_offline": Method(_COTRACKER, "scaled_offline.pth", "cotracker"),
    "cotracker3_online": Method(_COTRACKER, "scaled_online.pth", "cotracker"),
    "tapir": Method(_TAPIR, "tapir_checkpoint_panning.pt", "tapnet"),
    "bootstapir": Method(_TAPIR, "bootstapir_checkpoint_v2.pt", "tapnet"),
    "pips2": Method("lrtl.motion.pips:open_pips", "reference_model.tar.gz", "pips2"),
    "alltracker": Method("lrtl.motion.alltracker:open_alltracker", "alltracker.pth", "alltracker"),
}

_MASKFORMER = "lrtl.models.maskformer:build_maskformer"

# Called with NetworkConfig; gives a module from RGB frames (B, 3, H, W) in 0..255 to logits of the
# components (B, K, H, W).
NETWORKS = {
    "unet": Method("lrtl.models.unet:build_unet"),
    "maskformer_dino": Method(_MASKFORMER, "dino_vitbase8_pretrain.pth"),
    "maskformer_swin": Method(_MASKFORMER, "swin_tiny_patch4_window7_224.pth"),
    "maskformer_resnet": Method(_MASKFORMER, "resnet50-0676ba61.pth"),
}
