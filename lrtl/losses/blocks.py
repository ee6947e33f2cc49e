"""Long tensors a block of columns at a time."""

from collections.abc import Iterator

from torch import Tensor

COLUMNS = {"cpu": 2048, "cuda": 16_384}  # a core's cache holds a block; a GPU wants few kernels


def blocks(*values: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of tensors (..., N) of one device, up to `COLUMNS` of their last dimension at a time.

    Temporaries then are of a block's size, not of N's, which saves memory and more time than the
    loop takes.
    """
    columns = COLUMNS[values[0].device.type]
    return zip(*(value.split(columns, -1) for value in values), strict=True)
