"""Published files: from a mirror or their official address, whole, checked and recorded."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import requests
from tqdm import tqdm

from lrtl.datasets.archive import Archive
from lrtl.files import whole_file

BLOCK = 2**20
TIMEOUT = 60  # s without a byte
ATTEMPTS = 4
REDIRECTS = 5
DROPPED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class Published(NamedTuple):
    """Where a file is published, and its sha256 where one is known."""

    url: str
    sha256: str | None = None
    member: str | None = None  # the file's name inside the archive at `url`


_RAFT = "https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip"

ARCHIVES = {
    "DAVIS-data.zip": Published("https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip"),
}

WEIGHTS = {
    "raft-small.pth": Published(
        _RAFT,
        "c7d41b9cc88442bb8aa911dbb33086dac55a226394b142937ff22d5578717332",
        "models/raft-small.pth",
    ),
    "raft-things.pth": Published(_RAFT, member="models/raft-things.pth"),
}


def fetch(name: str, out: Path, mirror: str | None = None) -> None:
    """Put a published file at `out` and record its size, sha256 and source in `{out}.json`.

    Args:
        name: a key of `ARCHIVES` or `WEIGHTS`, the file's published name.
        out: its final name; an interrupted download is kept beside it as `{out}.part`.
        mirror: folder or http(s) URL that holds published files under their names; searched first.

    Raises:
        ValueError: unknown name, or content of another sha256 than the published one.
        OSError: no way to the file, with the remedy, or no room for it: what arrived is kept.
    """
    published = (ARCHIVES | WEIGHTS).get(name)
    if published is None:
        raise ValueError(f"unknown file {name!r}; known: {', '.join(ARCHIVES | WEIGHTS)}")
    part = Path(f"{out}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    source = _from_mirror(name, mirror, part) if mirror else None
    if source is None:
        source = _from_official(name, published, part, mirror)
    _accept(name, published, part, source, out)


def recorded(path: Path) -> dict:
    """What `fetch` recorded of a file: name, source, size, sha256; empty if it was put by hand."""
    record = Path(f"{path}.json")
    return json.loads(record.read_text()) if record.exists() else {}


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_mirror(name: str, mirror: str, part: Path) -> str | None:
    """Copy or download from the mirror to `part`; None if the mirror lacks the file."""
    if urlsplit(mirror).scheme in ("http", "https"):
        url = urljoin(mirror.rstrip("/") + "/", name)
        return url if _download(url, part, missing_is_none=True) else None
    folder = Path(mirror)
    if not folder.is_dir():
        raise ValueError(f"mirror {mirror!r} is neither a folder nor an http(s) URL")
    if not (folder / name).exists():
        return None
    shutil.copyfile(folder / name, part)
    return str(folder / name)


def _from_official(name: str, published: Published, part: Path, mirror: str | None) -> str:
    """Download from the official address to `part`, taking a member out of its archive."""
    whole = part if published.member is None else part.with_name(Path(published.url).name + ".part")
    try:
        _download(published.url, whole)
    except requests.RequestException as error:
        hint = f"{mirror} has no {name}" if mirror else "no mirror is set"
        raise OSError(
            f"cannot download {name} from {published.url} ({error}); {hint}: put {name} into a "
            "folder and pass --config mirror=FOLDER"
        ) from error
    if published.member is not None:
        part.write_bytes(Archive(whole).read(published.member))
        whole.unlink()
    return published.url


def _download(url: str, part: Path, missing_is_none: bool = False) -> bool:
    """Download to `part`, going on where an earlier attempt stopped; False if there is none.

    A part goes on only if the server confirms, by ETag or date, that the file is still the same.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _download_once(url, part, missing_is_none)
        except DROPPED as error:
            if attempt == ATTEMPTS - 1:
                raise
            print(f"{url}: {error}; trying again")
            time.sleep(2**attempt)
    raise AssertionError("unreachable")


def _download_once(url: str, part: Path, missing_is_none: bool) -> bool:
    tag = part.with_name(part.name + ".etag")
    start = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text()}
    with _get(url, headers) as response:
        if missing_is_none and response.status_code in (404, 410):
            return False
        response.raise_for_status()
        if response.status_code != 206:
            start = 0
        left = response.headers.get("Content-Length")
        total = start + int(left) if left else None
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if version and not version.startswith("W/"):
            tag.write_text(version)
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
    size = part.stat().st_size
    if total is not None and size != total:
        raise requests.ConnectionError(f"{url} ended after {size} of {total} bytes")
    tag.unlink(missing_ok=True)
    return True


def _get(url: str, headers: dict) -> requests.Response:
    """Request an http(s) URL, following redirects to http(s) alone."""
    for _ in range(REDIRECTS):
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"refused to follow a redirect to {url}; only http and https are read")
        response = requests.get(
            url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False
        )
        if not response.is_redirect:
            return response
        url = urljoin(url, response.headers["Location"])
        response.close()
    raise requests.TooManyRedirects(f"more than {REDIRECTS} redirects, the last to {url}")


def _accept(name: str, published: Published, part: Path, source: str, out: Path) -> None:
    """Check a whole download, record it and give it its final name."""
    digest = sha256_of(part)
    if published.sha256 not in (None, digest):
        part.unlink()
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
    }
    with whole_file(Path(f"{out}.json")) as path:
        path.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(part, out)
