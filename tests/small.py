"""Settings of a training that takes seconds."""

from lrtl.config import LossConfig, NetworkConfig, TrainConfig

NETWORK = NetworkConfig("unet", width=4, components=3, input_size=(48, 80), decoder="paper")
LOSSES = LossConfig(
    flow_weight=0.03,
    trajectory_weight=5e-5,
    smoothness_weight=0.1,
    reconstruction_weight=0.0,
    perspective_weight=0.0,
    track_flow_weight=0.0,
    flow_loss="released",
    flow_model="quadratic",
    over_components="mean",
    smoothness_ramp=0,
    flow_size=(48, 80),
    flow_clip=20.0,
    flow_centre="none",
    rank=5,
    track_count=64,
    track_visibility=0.7,
    track_filter=3,
    neighbours=0,
    context=6,
)
TRAINING = TrainConfig(
    steps=12,
    quads=1,
    quad_gaps=(1,),
    quad_offset=5,
    flows_per_image=1,
    learning_rate=1e-3,
    weight_decay=1e-4,
    warmup_steps=4,
    decay_steps=100,
    decay_power=0.9,
    gradient_clip=5.0,
    ema_power=0.6667,
    ema_warmup=4,
    ema_every=2,
    flip=0.5,
    precision="float32",
    checkpoint_every=5,
    workers=0,
)
