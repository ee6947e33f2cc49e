"""A server that cuts, stalls, resets, lies and leads elsewhere."""

import socket
from dataclasses import replace
from pathlib import Path

from lrtl.datasets.fetch import Published
from tests.datasets.server import CONTENT, SHA256, serve
from tests.faults.jobs import Job
from tests.faults.stages import Stage
from tests.faults.undisturbed import Outcome, Undisturbed, contents, refused

TRIES = 2  # that go wrong before the server does as it should
ALWAYS = 99
NAME = "data.bin"
_getaddrinfo = socket.getaddrinfo

# The path at the server and how often it goes wrong; whether the download ends well.
DOWNLOADS = {
    "cut connection": ("/cut.bin", TRIES, True),
    "stalled connection": ("/stall.bin", TRIES, True),
    "reset connection": ("/reset.bin", TRIES, True),
    "busy server": ("/busy.bin", TRIES, True),
    "short content": ("/cut.bin", ALWAYS, False),
    "wrong content": ("/wrong.bin", ALWAYS, False),
    "no length": ("/endless.bin", ALWAYS, False),
    "redirect to a file": ("/evil.bin", ALWAYS, False),
    "redirect to a private address": ("/private.bin", ALWAYS, False),
}


def download(kind: str, whole: Undisturbed, stage: Stage, folder: Path, rng) -> Outcome:
    """A file is fetched from a server that goes wrong; then from one that does not."""
    path, faults, arrives = DOWNLOADS[kind]
    stage = replace(stage, command=f"fetch --name {NAME} --out {NAME}", products=(NAME,))
    with serve() as server:
        server.faults = faults
        server.etag = '"one"' if arrives else 'W/"weak"'  # a weak one does not let a part go on
        server.files["/wrong.bin"] = CONTENT[::-1]
        status, printed, _ = Job(folder, stage, _patches(f"{server.url}{path}")).end()
        found = contents(folder, stage.products)
        fair = (status == 0) if arrives else refused(status, printed, (NAME, path)) and not found
        if not arrives:
            Job(folder, stage, _patches(f"{server.url}/data.bin")).end()
    right = (folder / NAME).read_bytes() == CONTENT
    accepted = sum(content != CONTENT for content in found.values())
    return Outcome(fair and right, 0, accepted, printed)


def _patches(url: str) -> dict:
    return {
        "lrtl.datasets.fetch.ARCHIVES": {
            NAME: Published(url.replace("127.0.0.1", "localhost"), SHA256)
        },
        "lrtl.datasets.download.TIMEOUT": 0.3,
        "lrtl.datasets.download.time.sleep": _at_once,
        "socket.getaddrinfo": _public,
    }


def _at_once(seconds: float) -> None:
    """Wait for nothing."""


def _public(host, port, *rest, **named):
    """Addresses as they are, but `localhost` looks public to who asks without a port."""
    found = "8.8.8.8" if (host, port) == ("localhost", None) else host
    return _getaddrinfo(found, port, *rest, **named)
