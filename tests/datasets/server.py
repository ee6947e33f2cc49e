"""A local server that cuts, stalls, lies and redirects, and a file published there."""

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lrtl.datasets import fetch as module
from lrtl.datasets.fetch import Published

CONTENT = os.urandom(3 * 2**20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT, or what `server.files` holds, with the faults the paths are named after."""

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        if self.path == "/evil.bin":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        if self.path == "/private.bin":
            self.send_response(302)
            self.send_header("Location", f"{server.url}/data.bin")
            self.end_headers()
            return
        if self.path == "/busy.bin" and server.faults:
            server.faults -= 1
            self.send_error(503)
            return
        if self.path == "/missing.bin":
            self.send_error(404)
            return
        content = server.files.get(self.path, CONTENT)
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == server.etag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if start and self.path == "/shifted.bin":
            start -= 1
        self.send_response(206 if start else 200)
        self.send_header("ETag", server.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.path != "/endless.bin":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content)
        fails = self.path in ("/cut.bin", "/stall.bin", "/reset.bin") and server.faults > 0
        if fails:
            server.faults -= 1
            stop = start + 2**20
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[start:stop])
        if fails and self.path == "/stall.bin":
            time.sleep(1)
        if fails and self.path == "/reset.bin":
            at_once = struct.pack("ii", True, 0)  # unsent data is dropped, the peer told so
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serve():
    """The server, with `url`, the `requests` it got, `files`, `faults` still to come and `etag`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.files, server.faults, server.etag = [], {}, 0, '"one"'
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()


def publish(monkeypatch, url, sha256=None, member=None):
    monkeypatch.setitem(module.ARCHIVES, "data.bin", Published(url, sha256, member))
