"""Reading members of zip archives that nobody vouches for."""

import io
import re
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from lrtl.datasets.layout import UNREADABLE

LARGEST_MEMBER = 2**30  # bytes unpacked
LARGEST_TOTAL = 2**36  # bytes of all members unpacked
LARGEST_RATIO = 1000  # of unpacked to packed bytes; zlib cannot pack images a thousandfold
REMEDY = "use the official archive"


class Archive:
    """A zip archive whose members are read one by one into memory, never unpacked to disk.

    Raises:
        ValueError: the file is no zip archive or is cut short, or a member is a link, has an
            absolute path or `..` in its name, or would unpack to an absurd size.
        OSError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{path} is not a whole zip archive ({error}); delete it and fetch it again"
            ) from error
        self.members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        for info in self.members.values():
            self._check(info)
        total = sum(info.file_size for info in self.members.values())
        if total > LARGEST_TOTAL:
            raise ValueError(
                f"{path} is refused: its members would unpack to {total} bytes; {REMEDY}"
            )

    def names(self, folder: str, suffixes: tuple[str, ...]) -> list[str]:
        """Members directly in `folder` with one of the suffixes, sorted."""
        return sorted(
            name
            for name in self.members
            if str(PurePosixPath(name).parent) == folder
            and PurePosixPath(name).suffix.lower() in suffixes
        )

    def folders(self, root: str) -> list[str]:
        """Names of the folders directly in `root`, sorted."""
        folders = {folder for name in self.members for folder in PurePosixPath(name).parents}
        return sorted(folder.name for folder in folders if str(folder.parent) == root)

    def frames(self, root: str, sequence: str, suffixes: tuple[str, ...]) -> list[str]:
        """Frames of a sequence, the members directly in `{root}/{sequence}`, sorted."""
        frames = self.names(f"{root}/{sequence}", suffixes)
        if not frames:
            known = ", ".join(self.folders(root)) or f"nothing in {root}"
            raise ValueError(
                f"{self.path} has no sequence {sequence!r}, it has {known}; restrict the run with "
                "--config sequences=NAME,NAME or use the whole official archive"
            )
        return frames

    def check_masks(self, what: str, frames: int, masks: int) -> None:
        """Raise ValueError unless every frame of a sequence, or of an object in it, has a mask."""
        if frames != masks:
            raise ValueError(
                f"{self.path} has {frames} frames and {masks} masks of {what}, expected one for "
                "each; use the whole official archive"
            )

    def image(self, name: str, mode: str) -> np.ndarray:
        """Decode one member, an image, to PIL's `mode`: (H, W, 3) uint8 for RGB, (H, W) for L."""
        try:
            with Image.open(io.BytesIO(self.read(name))) as image:
                return np.array(image.convert(mode))
        except UNREADABLE as error:
            raise ValueError(f"{self.path}: {name} is not a readable image ({error})") from error

    def read(self, name: str) -> bytes:
        """Read one member."""
        if name not in self.members:
            raise ValueError(f"{self.path} has no {name}; is it the official archive?")
        size = self.members[name].file_size
        try:
            with self._zip.open(self.members[name]) as member:
                data = member.read(size)  # no more than stated, whatever it would unpack to
            if len(data) != size:
                raise EOFError(f"{len(data)} of {size} bytes")
            return data
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            remedy = "delete the archive and fetch it again"
            raise ValueError(f"{self.path}: {name} is damaged ({error}); {remedy}") from error

    def _check(self, info: zipfile.ZipInfo) -> None:
        path, mode = PurePosixPath(info.filename.replace("\\", "/")), info.external_attr >> 16
        safe = path.parts and ".." not in path.parts and ":" not in path.parts[0]
        if path.is_absolute() or not safe:
            raise ValueError(
                f"{self.path} is refused: unsafe member name {info.filename!r}; {REMEDY}"
            )
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ValueError(
                f"{self.path} is refused: {info.filename!r} is not a plain file; {REMEDY}"
            )
        too_large = info.file_size > LARGEST_MEMBER
        if too_large or info.file_size > LARGEST_RATIO * max(info.compress_size, 1000):
            raise ValueError(
                f"{self.path} is refused: {info.filename!r} would unpack {info.compress_size} "
                f"bytes to {info.file_size}; {REMEDY}"
            )


def by_number(names: list[str]) -> dict[int, str]:
    """Files by the last number in their names, in its order: `tennis454.jpg` is 454.

    Raises:
        ValueError: a name without a number, or two with the same.
    """
    numbered: dict[int, str] = {}
    for name in names:
        digits = re.findall(r"\d+", PurePosixPath(name).stem)
        if not digits:
            raise ValueError(f"{name} has no number in its name; is it from the official archive?")
        other = numbered.setdefault(int(digits[-1]), name)
        if other != name:
            raise ValueError(f"{other} and {name} have the same number; keep the official one")
    return dict(sorted(numbered.items()))
