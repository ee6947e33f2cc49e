"""Published files: from a mirror or their official address, whole, checked and recorded."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import requests

from lrtl.datasets.archive import Archive
from lrtl.datasets.download import discard, download, tag_of
from lrtl.files import sha256_of, whole_file


class Published(NamedTuple):
    """Where a file is published, and its sha256 where one is known."""

    url: str
    sha256: str | None = None
    member: str | None = None  # the file's name inside the archive at `url`


_RAFT = "https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip"
_FBMS = "https://lmb.informatik.uni-freiburg.de/resources/datasets/fbms"

ARCHIVES = {
    "DAVIS-data.zip": Published("https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip"),
    "SegTrackv2.zip": Published("https://web.engr.oregonstate.edu/~lif/SegTrack2/SegTrackv2.zip"),
    "FBMS_Trainingset.zip": Published(f"{_FBMS}/FBMS_Trainingset.zip"),
    "FBMS_Testset.zip": Published(f"{_FBMS}/FBMS_Testset.zip"),
}

_TAPNET = "https://storage.googleapis.com/dm-tapnet"
_DINO = "https://dl.fbaipublicfiles.com/dino"
_SWIN = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0"
_COTRACKER = "https://huggingface.co/facebook/cotracker"  # CC BY-NC 4.0, as CoTracker's code
_PIPS = "https://www.dropbox.com/scl/fi/czdlt2zc2ji2b7zd0pvoe"
_PIPS_KEY = "rlkey=56ebq4g5dk01kyq8kuismev14"  # part of the published link
_LRTL = "https://thor.robots.ox.ac.uk/lrtl/pytorch_checkpoints"
_ALLTRACKER = "https://huggingface.co/aharley/alltracker"

WEIGHTS = {
    "raft-small.pth": Published(
        _RAFT,
        "c7d41b9cc88442bb8aa911dbb33086dac55a226394b142937ff22d5578717332",
        "models/raft-small.pth",
    ),
    "raft-things.pth": Published(_RAFT, member="models/raft-things.pth"),
    "cotracker2.pth": Published(f"{_COTRACKER}/resolve/main/cotracker2.pth"),
    "scaled_offline.pth": Published(f"{_COTRACKER}3/resolve/main/scaled_offline.pth"),
    "tapir_checkpoint_panning.pt": Published(f"{_TAPNET}/tapir_checkpoint_panning.pt"),
    "bootstapir_checkpoint_v2.pt": Published(f"{_TAPNET}/bootstap/bootstapir_checkpoint_v2.pt"),
    "scaled_online.pth": Published(f"{_COTRACKER}3/resolve/main/scaled_online.pth"),
    "dino_deitsmall8_pretrain.pth": Published(
        f"{_DINO}/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth"
    ),
    "dino_vitbase8_pretrain.pth": Published(
        f"{_DINO}/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth"
    ),
    "davis_best_ckpt.pth": Published(f"{_LRTL}/davis_best_ckpt.pth"),
    "stv2_best_ckpt.pth": Published(f"{_LRTL}/stv2_best_ckpt.pth"),
    "fbms_best_ckpt.pth": Published(f"{_LRTL}/fbms_best_ckpt.pth"),
    "reference_model.tar.gz": Published(f"{_PIPS}/reference_model.tar.gz?{_PIPS_KEY}&dl=1"),
    "alltracker.pth": Published(f"{_ALLTRACKER}/resolve/main/alltracker.pth"),
    "swin_tiny_patch4_window7_224.pth": Published(
        f"{_SWIN}/swin_tiny_patch4_window7_224.pth",
        "9f71c168d837d1b99dd1dc29e14990a7a9e8bdc5f673d46b04fe36fe15590ad3",
    ),
    "resnet50-0676ba61.pth": Published(
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    ),
}


def fetch(name: str, out: Path, mirror: str | None = None) -> None:
    """Put a published file at `out` and record its size, sha256 and source in `{out}.json`.

    Args:
        name: a key of `ARCHIVES` or `WEIGHTS`, the file's published name.
        out: its final name; an interrupted download is kept beside it as `{out}.part`.
        mirror: folder or http(s) URL that holds published files, or the archives they come in,
            under their names; searched first.

    Raises:
        ValueError: unknown name, or content of another sha256 than the published one.
        OSError: no way to the file, with the remedy, or no room for it: what arrived is kept.
    """
    published = (ARCHIVES | WEIGHTS).get(name)
    if published is None:
        raise ValueError(f"unknown file {name!r}; known: {', '.join(ARCHIVES | WEIGHTS)}")
    part = Path(f"{out}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    source = _from_mirror(name, published, mirror, part) if mirror else None
    if source is None:
        source = _from_official(name, published, part, mirror)
    _accept(name, published, part, source, out)


def recorded(path: Path) -> dict:
    """What `fetch` recorded of a file: name, source, size, sha256, day; empty without a record.

    Raises:
        ValueError: the record is damaged.
    """
    record = Path(f"{path}.json")
    if not record.exists():
        return {}
    try:
        about = json.loads(record.read_text())
        about["sha256"]
    except (ValueError, TypeError, KeyError) as error:
        remedy = f"delete it and {path}, and fetch that again"
        raise ValueError(f"{record} is damaged ({error}); {remedy}") from error
    return about


def recorded_sha256(path: Path) -> str | None:
    """The sha256 of a fetched file, checked; None of one that was put there by hand."""
    return checked_sha256(path) if recorded(path) else None


def checked_sha256(path: Path) -> str:
    """The sha256 of a fetched file.

    Raises:
        ValueError: it is not the one that was recorded.
    """
    digest, expected = sha256_of(path), recorded(path).get("sha256")
    if expected not in (None, digest):
        raise ValueError(
            f"{path} is damaged: its sha256 is {digest}, recorded is {expected}; delete it and "
            "fetch it again"
        )
    return digest


def _from_mirror(name: str, published: Published, mirror: str, part: Path) -> str | None:
    """Take the file, or the archive it is published in, from the mirror; None if it has neither."""
    source = _copy(name, mirror, part)
    if source is None and published.member is not None:
        whole = _whole(published, part)
        source = _copy(Path(published.url).name, mirror, whole)
        if source is not None:
            _extract(published.member, whole, part)
    return source


def _copy(name: str, mirror: str, part: Path) -> str | None:
    """Copy or download `name` from the mirror to `part`; None if the mirror lacks it."""
    if urlsplit(mirror).scheme in ("http", "https"):
        url = urljoin(mirror.rstrip("/") + "/", name)
        try:
            return url if download(url, part, missing_is_none=True) else None
        except requests.RequestException as error:
            raise OSError(
                f"cannot read {name} from the mirror {mirror} ({error}); correct --config mirror=, "
                "or leave it empty to load from the official address"
            ) from error
    folder = Path(mirror)
    if not folder.is_dir():
        raise ValueError(f"mirror {mirror!r} is neither a folder nor an http(s) URL")
    if not (folder / name).is_file():
        return None
    tag_of(part).unlink(missing_ok=True)
    shutil.copyfile(folder / name, part)
    return str(folder / name)


def _from_official(name: str, published: Published, part: Path, mirror: str | None) -> str:
    """Download from the official address to `part`, taking a member out of its archive."""
    whole = part if published.member is None else _whole(published, part)
    try:
        download(published.url, whole)
    except requests.RequestException as error:
        hint = f"{mirror} has no {name}" if mirror else "no mirror is set"
        raise OSError(
            f"cannot download {name} from {published.url} ({error}); {hint}: put {name} into a "
            "folder and pass --config mirror=FOLDER"
        ) from error
    if published.member is not None:
        _extract(published.member, whole, part)
    return published.url


def _whole(published: Published, part: Path) -> Path:
    """Where the archive around a file is kept: one per file, as jobs may run side by side."""
    return part.with_name(f"{part.stem}.{Path(published.url).name}.part")


def _extract(member: str, whole: Path, part: Path) -> None:
    """Take `member` out of the archive `whole`, which stays only if there is no room for it."""
    tag_of(part).unlink(missing_ok=True)
    try:
        part.write_bytes(Archive(whole).read(member))
    except ValueError:
        discard(whole)
        raise
    discard(whole)


def _accept(name: str, published: Published, part: Path, source: str, out: Path) -> None:
    """Check a whole download, record it and give it its final name."""
    digest = sha256_of(part)
    if published.sha256 not in (None, digest):
        discard(part)
        raise ValueError(
            f"{name} from {source} has sha256 {digest}, published is {published.sha256}; it was "
            "removed: fetch it from another source"
        )
    record = {
        "name": name,
        "source": source,
        "size": part.stat().st_size,
        "sha256": digest,
        "checked": published.sha256 is not None,
        "fetched": datetime.now(UTC).date().isoformat(),
    }
    with whole_file(Path(f"{out}.json"), record=False) as path:
        path.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(part, out)
    discard(part)
