"""Fixture: a local server."""

import threading
from http.server import ThreadingHTTPServer

import pytest

from tests.datasets.server import Handler


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("lrtl.datasets.download.time.sleep", lambda seconds: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.files, server.faults, server.etag = [], {}, 0, '"one"'
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
