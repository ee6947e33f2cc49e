"""Names and shapes in published files of weights, written down from the public code."""

from lrtl.models.maskformer import MaskFormer

K = 4  # components of the authors' checkpoints


def norm(name: str, channels: int) -> dict:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def linear(name: str, outputs: int, *inputs: int) -> dict:
    return {f"{name}.weight": (outputs, *inputs), f"{name}.bias": (outputs,)}


def swin_tiny() -> dict:
    """microsoft/Swin-Transformer's swin_tiny_patch4_window7_224.pth."""
    shapes = linear("patch_embed.proj", 96, 3, 4, 4) | norm("patch_embed.norm", 96)
    for stage, (depth, heads) in enumerate([(2, 3), (2, 6), (6, 12), (2, 24)]):
        c = 96 * 2**stage
        for block in range(depth):
            b = f"layers.{stage}.blocks.{block}."
            shapes |= norm(b + "norm1", c) | norm(b + "norm2", c)
            shapes |= linear(b + "attn.qkv", 3 * c, c) | linear(b + "attn.proj", c, c)
            shapes |= {b + "attn.relative_position_bias_table": (169, heads)}
            shapes |= {b + "attn.relative_position_index": (49, 49)}
            shapes |= linear(b + "mlp.fc1", 4 * c, c) | linear(b + "mlp.fc2", c, 4 * c)
            if block % 2 and stage < 3:
                shapes |= {b + "attn_mask": ((56 // 7 // 2**stage) ** 2, 49, 49)}
        if stage < 3:
            shapes |= {f"layers.{stage}.downsample.reduction.weight": (2 * c, 4 * c)}
            shapes |= norm(f"layers.{stage}.downsample.norm", 4 * c)
    return shapes | norm("norm", 768) | linear("head", 1000, 768)


def batch_norm(name: str, channels: int) -> dict:
    statistics = {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}
    return norm(name, channels) | statistics


def resnet_50() -> dict:
    """torchvision's resnet50-0676ba61.pth."""
    shapes = {"conv1.weight": (64, 3, 7, 7)} | batch_norm("bn1", 64)
    inputs = 64
    for stage, depth in enumerate([3, 4, 6, 3], 1):
        c = 32 * 2**stage
        for block in range(depth):
            b = f"layer{stage}.{block}."
            shapes |= {b + "conv1.weight": (c, inputs, 1, 1)} | batch_norm(b + "bn1", c)
            shapes |= {b + "conv2.weight": (c, c, 3, 3)} | batch_norm(b + "bn2", c)
            shapes |= {b + "conv3.weight": (4 * c, c, 1, 1)} | batch_norm(b + "bn3", 4 * c)
            if block == 0:
                shapes |= {b + "downsample.0.weight": (4 * c, inputs, 1, 1)}
                shapes |= batch_norm(b + "downsample.1", 4 * c)
            inputs = 4 * c
    return shapes | linear("fc", 1000, 2048)


def lrtl_checkpoint(channels: int = 768) -> dict:
    """karazijal/lrtl's *_best_ckpt.pth, under `model`: detectron2's MaskFormer over DINO's keys.

    `channels` are those of the keys.
    """
    pixels, predictor = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
    shapes = {"criterion.empty_weight": (3,)}
    for level in range(1, 5):
        if level < 4:
            shapes |= {f"{pixels}adapter_{level}.weight": (256, channels, 1, 1)}
            shapes |= norm(f"{pixels}adapter_{level}.norm", 256)
        inputs = 256 if level < 4 else channels
        shapes |= {f"{pixels}layer_{level}.weight": (256, inputs, 3, 3)}
        shapes |= norm(f"{pixels}layer_{level}.norm", 256)
    for index, side in ((0, 3), (2, 1), (3, 3), (5, 1)):
        shapes |= {f"{pixels}mask_features.{index}.weight": (256, 256, side, side)}
        shapes |= norm(f"{pixels}mask_features.{index}.norm", 256)
    shapes |= linear(f"{pixels}mask_features.6", 256, 256, 3, 3)
    for index in range(6):
        layer = f"{predictor}transformer.decoder.layers.{index}."
        for attention in ("self_attn", "multihead_attn"):
            shapes |= {f"{layer}{attention}.in_proj_weight": (768, 256)}
            shapes |= {f"{layer}{attention}.in_proj_bias": (768,)}
            shapes |= linear(f"{layer}{attention}.out_proj", 256, 256)
        shapes |= linear(f"{layer}linear1", 2048, 256) | linear(f"{layer}linear2", 256, 2048)
        for number in (1, 2, 3):
            shapes |= norm(f"{layer}norm{number}", 256)
    shapes |= norm(f"{predictor}transformer.decoder.norm", 256)
    shapes |= {f"{predictor}query_embed.weight": (K, 256)}
    shapes |= linear(f"{predictor}input_proj", 256, channels, 1, 1)
    for index in range(3):
        shapes |= linear(f"{predictor}mask_embed.layers.{index}", 256, 256)
    shapes |= linear(f"{predictor}mask_querie_comb.0", K, K, 1, 1)
    return shapes | linear(f"{predictor}mask_querie_comb.1", 2, K, 5, 5)


def as_released(model: MaskFormer) -> dict:
    """The weights of a network of `decoder` released, under the names of `lrtl_checkpoint`."""
    pixels, predictor = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
    pyramid, transformer = model.pyramid, model.transformer
    modules = {
        f"{pixels}mask_features.6": model.mask_features,
        f"{predictor}transformer.decoder.layers": transformer.layers,
        f"{predictor}transformer.decoder.norm": transformer.norm,
        f"{predictor}query_embed": transformer.queries,
        f"{predictor}input_proj": transformer.project,
    }
    for index in range(3):
        modules[f"{predictor}mask_embed.layers.{index}"] = transformer.embed[2 * index]
    normalised = {f"adapter_{level}": pair for level, pair in enumerate(pyramid.laterals, 1)}
    normalised |= {f"layer_{level}": pair for level, pair in enumerate(pyramid.outputs, 1)}
    for index, convolution in zip((0, 2, 3, 5), model.upsampling.convolutions, strict=True):
        normalised[f"mask_features.{index}"] = convolution, pyramid.outputs[3][1]
    for name, (convolution, group_norm) in normalised.items():
        modules |= {pixels + name: convolution, f"{pixels}{name}.norm": group_norm}
    return {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


PUBLISHED = {
    "maskformer_swin": ("swin_tiny_patch4_window7_224.pth", swin_tiny()),
    "maskformer_resnet": ("resnet50-0676ba61.pth", resnet_50()),
}
