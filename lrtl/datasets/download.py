"""Resumable downloads over HTTP."""

import re
import socket
import time
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from tqdm import tqdm

BLOCK = 2**20
TIMEOUT = 60  # s without a byte
ATTEMPTS = 4
REDIRECTS = 5
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP answers worth another attempt
DROPPED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


def download(url: str, part: Path, missing_is_none: bool = False) -> bool:
    """Download to `part`, going on where an earlier attempt stopped; False if there is none.

    A part goes on only if the server confirms, by ETag or date, that the file is still the same;
    which one it is stands in `{part}.etag`, there until `discard`.

    Args:
        url: an http(s) address; redirects may lead to such ones alone, and from a public one to
            public ones alone.
        part: the file, whole on return.
        missing_is_none: return False on 404 and 410 instead of raising.

    Raises:
        ValueError: a redirect that is not followed.
        requests.RequestException: no answer, an error, or a file whose end cannot be known.
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
    start, version = _arrived(url, part)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": version}
    with _get(url, headers) as response:
        status = response.status_code
        first, total = _span(response)
        if missing_is_none and status in (404, 410):
            return False
        same = _version(response) in (None, version)
        if status == 416 and start and total == start and same:
            return True  # all of it had arrived
        if status in (206, 416) and not (same and first == start):
            tag_of(part).unlink(missing_ok=True)
            raise requests.ConnectionError(f"{url} does not go on at byte {start}")
        if status in BUSY:
            raise requests.ConnectionError(f"{url} answers {status} {response.reason}")
        response.raise_for_status()
        _write(url, response, part, start if status == 206 else 0, total)
    size = part.stat().st_size
    if total is not None and size != total:
        raise requests.ConnectionError(f"{url} ended after {size} of {total} bytes")
    return True


def _write(url: str, response: requests.Response, part: Path, start: int, total: int | None):
    """Write a response to `part` from byte `start` on, beside a note of what it is a part of."""
    if total is None and response.headers.get("Transfer-Encoding") != "chunked":
        raise requests.exceptions.InvalidHeader(f"{url} does not say how long the file is")
    with (
        open(part, "ab" if start else "wb") as file,
        tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem) as bar,
    ):
        version = _version(response)
        if version is None:
            tag_of(part).unlink(missing_ok=True)
        else:
            tag_of(part).write_text(f"{url}\n{version}")
        for block in response.iter_content(BLOCK):
            file.write(block)
            bar.update(len(block))


def _arrived(url: str, part: Path) -> tuple[int, str]:
    """How many bytes of `url` are in `part`, and of which version of the file."""
    if not (part.exists() and tag_of(part).exists()):
        return 0, ""
    source, _, version = tag_of(part).read_text().partition("\n")
    return (part.stat().st_size, version) if source == url else (0, "")


def _span(response: requests.Response) -> tuple[int | None, int | None]:
    """The first byte a response holds, and the size of the whole file; None if not said."""
    stated = re.fullmatch(
        r"bytes (\*|\d+)(?:-\d+)?/(\d+)", response.headers.get("Content-Range", "")
    )
    if stated:
        return None if stated[1] == "*" else int(stated[1]), int(stated[2])
    length = response.headers.get("Content-Length")
    return None, int(length) if length else None


def _version(response: requests.Response) -> str | None:
    """What tells this version of the file from another: a strong ETag, or else its date."""
    tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return None if tag is None or tag.startswith("W/") else tag


def tag_of(part: Path) -> Path:
    """The note beside `part` of the address and version it is a part of."""
    return part.with_name(part.name + ".etag")


def discard(part: Path) -> None:
    """Remove a part and its note, where they are."""
    part.unlink(missing_ok=True)
    tag_of(part).unlink(missing_ok=True)


def _get(url: str, headers: dict) -> requests.Response:
    """Request an http(s) URL, following redirects to http(s) alone, and not into a private net."""
    for _ in range(REDIRECTS):
        response = requests.get(
            url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False
        )
        if not response.is_redirect:
            return response
        source, url = url, urljoin(url, response.headers["Location"])
        response.close()
        refused = f"refused to follow a redirect to {url} from {source}"
        remedy = "fetch the file by hand and name its folder with --config mirror=FOLDER"
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{refused}; only http and https are read: {remedy}")
        if _is_private(url) and not _is_private(source):
            raise ValueError(f"{refused}, which is public, into a private network; {remedy}")
    raise requests.TooManyRedirects(f"more than {REDIRECTS} redirects, the last to {url}")


def _is_private(url: str) -> bool:
    """Whether the host of a URL has an address that is not of the public internet.

    A name that cannot be looked up here, but by a proxy, counts as public.
    """
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return False
    return any(not ip_address(address[0].partition("%")[0]).is_global for *_, address in found)
