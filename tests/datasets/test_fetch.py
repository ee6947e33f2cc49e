"""Downloads from a local server that cuts, stalls, lies and redirects; mirrors; full disks."""

import contextlib
import hashlib
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lrtl.datasets import fetch as module
from lrtl.datasets.fetch import Published, fetch, recorded

CONTENT = os.urandom(3 * 2**20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; the first requests of `/cut.bin` end early."""

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        if self.path == "/evil.bin":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        if self.path == "/missing.bin":
            self.send_error(404)
            return
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == server.etag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        stop = len(CONTENT)
        if self.path == "/cut.bin" and server.cuts:
            server.cuts -= 1
            stop = start + 2**20
        with contextlib.suppress(ConnectionError):
            self.wfile.write(CONTENT[start:stop])
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.cuts, server.etag = [], 0, '"one"'
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def publish(monkeypatch, url, sha256=None):
    monkeypatch.setitem(module.ARCHIVES, "data.bin", Published(url, sha256))


def test_cut_connections_are_resumed(server, monkeypatch, tmp_path):
    server.cuts = 2
    publish(monkeypatch, f"{server.url}/cut.bin", SHA256)
    fetch("data.bin", tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    ranges = [requested for _, requested in server.requests]
    assert ranges == [None, f"bytes={2**20}-", f"bytes={2**21}-"]
    record = recorded(tmp_path / "data.bin")
    assert (record["sha256"], record["size"]) == (SHA256, len(CONTENT))
    assert sorted(os.listdir(tmp_path)) == ["data.bin", "data.bin.json"]


def test_a_file_that_changed_meanwhile_is_loaded_anew(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/data.bin", SHA256)
    (tmp_path / "data.bin.part").write_bytes(b"old" * 1000)
    (tmp_path / "data.bin.part.etag").write_text('"zero"')
    fetch("data.bin", tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_wrong_content_never_gets_the_final_name(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/data.bin", "0" * 64)
    with pytest.raises(ValueError, match=r"data\.bin from .* sha256 .* published is 0000"):
        fetch("data.bin", tmp_path / "data.bin")
    assert os.listdir(tmp_path) == []


def test_redirects_to_files_are_refused(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/evil.bin")
    with pytest.raises(ValueError, match="redirect to file:///etc/passwd"):
        fetch("data.bin", tmp_path / "data.bin")


def test_without_network_the_error_names_file_and_remedy(server, monkeypatch, tmp_path):
    publish(monkeypatch, "http://127.0.0.1:9/data.bin")
    with pytest.raises(OSError, match=r"cannot download data\.bin .*mirror=FOLDER"):
        fetch("data.bin", tmp_path / "data.bin")
    publish(monkeypatch, f"{server.url}/missing.bin")
    with pytest.raises(OSError, match="404"):
        fetch("data.bin", tmp_path / "data.bin")


def test_mirrors_come_first_folder_or_url(server, monkeypatch, tmp_path):
    publish(monkeypatch, "http://127.0.0.1:9/data.bin", SHA256)
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "data.bin").write_bytes(CONTENT)
    for mirror in (str(folder), server.url):
        out = tmp_path / "out" / "data.bin"
        fetch("data.bin", out, mirror)
        assert out.read_bytes() == CONTENT
        assert recorded(out)["source"].startswith(mirror)
        out.unlink()
    with pytest.raises(ValueError, match="neither a folder nor"):
        fetch("data.bin", out, str(tmp_path / "nowhere"))


def test_a_mirror_without_the_file_is_passed_over(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/data.bin", SHA256)
    (tmp_path / "mirror").mkdir()
    fetch("data.bin", tmp_path / "data.bin", str(tmp_path / "mirror"))
    assert recorded(tmp_path / "data.bin")["source"].startswith(server.url)


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match=r"known: .*raft-small\.pth"):
        fetch("raft.pth", "out")


def test_a_full_disk_keeps_what_arrived(server, monkeypatch, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]
    if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here; it takes root")
    try:
        publish(monkeypatch, f"{server.url}/data.bin", SHA256)
        with pytest.raises(OSError, match="No space left"):
            fetch("data.bin", small / "data.bin")
        assert not (small / "data.bin").exists()
        assert (small / "data.bin.part").stat().st_size > 0
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        fetch("data.bin", small / "data.bin")
        assert (small / "data.bin").read_bytes() == CONTENT
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_real_weights_come_from_the_mirror(mirror, tmp_path):
    fetch("raft-small.pth", tmp_path / "raft-small.pth", str(mirror))
    assert recorded(tmp_path / "raft-small.pth")["checked"]
