"""Fixture: a local server."""

import pytest

from tests.datasets.server import serve


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("lrtl.datasets.download.time.sleep", lambda seconds: None)
    with serve() as server:
        yield server
