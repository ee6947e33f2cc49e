"""`lrtl convert`: a checkpoint that the authors released as the folder of a run."""

from dataclasses import asdict
from pathlib import Path

import lrtl
from lrtl.config import LossConfig, NetworkConfig
from lrtl.files import sha256_of, whole_folder
from lrtl.methods import NETWORKS
from lrtl.models import backbone_sha256
from lrtl.models.released import load_released
from lrtl.runs import save_run, settings_text

NETWORK = {
    "network": "maskformer_dino",
    "width": 64,  # which MaskFormer ignores
    "components": 4,
    "input_size": (192, 352),
    "decoder": "released",
}
LOSSES = LossConfig(  # the released code's own
    flow_weight=0.03,
    trajectory_weight=5e-5,
    smoothness_weight=0.1,
    reconstruction_weight=0.0,
    perspective_weight=0.0,
    track_flow_weight=0.0,
    flow_loss="released",
    flow_model="quadratic",
    over_components="mean",
    smoothness_ramp=160000,
    flow_size=(480, 854),
    flow_clip=20.0,
    flow_centre="none",
    rank=5,
    track_count=70000,
    track_visibility=0.1,  # there of the video, here of the window
    track_filter=11,
    neighbours=1,
    context=20,
)


def convert(checkpoint: Path, out: Path, backbone_weights: str) -> None:
    """Write a released checkpoint as a run: `weights.safetensors` and `config.yaml`.

    Args:
        checkpoint: the file, see `lrtl.models.released`.
        out: the run's folder, which does not exist yet.
        backbone_weights: the published file of DINO's ViT-B/8.

    Raises:
        ValueError: `out` is there already, or one of the files is not what it should be.
    """
    if out.exists():
        raise ValueError(f"{out} is there already; remove it, or name another with -o")
    config = NetworkConfig(**NETWORK, backbone_weights=backbone_weights)
    model = load_released(NETWORKS[config.network](config), checkpoint)
    settings = {
        "network": asdict(config) | {"backbone_weights": backbone_sha256(config)},
        "losses": asdict(LOSSES),
        "checkpoint": {"name": checkpoint.name, "sha256": sha256_of(checkpoint)},
        "version": lrtl.__version__,
    }
    with whole_folder(out, record=False) as folder:
        save_run(folder, model, settings_text(settings))
