"""Small image files and archives of them, in the formats of the published ones."""

import io
import zipfile

import numpy as np
from PIL import Image

SIZE = (24, 32)


def encoded(pixels, kind):
    """An image file: PNG, BMP, JPEG, or PPM, which is a PGM of pixels (H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def scene(brightness):
    """A picture with an edge in it."""
    pixels = np.full((*SIZE, 3), brightness, np.uint8)
    pixels[:, 16:] = 200, 40, 40
    return pixels


def box(top, left, value=255, background=0):
    """A mask of one box of 6 x 8 px."""
    mask = np.full((*SIZE, *np.shape(value)), background, np.uint8)
    mask[top : top + 6, left : left + 8] = value
    return mask


def write_archive(path, files):
    """A zip archive of files, name to content."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
