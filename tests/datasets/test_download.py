"""Downloads that are cut, go on, change meanwhile or lead elsewhere."""

import os

import pytest

from lrtl.datasets.fetch import fetch, recorded
from tests.datasets.server import CONTENT, SHA256, publish


def leave_part(folder, url, content, etag='"one"'):
    """What an interrupted download of `url` leaves behind."""
    (folder / "data.bin.part").write_bytes(content)
    (folder / "data.bin.part.etag").write_text(f"{url}\n{etag}")


def test_cut_connections_are_resumed(server, monkeypatch, tmp_path):
    server.faults = 2
    publish(monkeypatch, f"{server.url}/cut.bin", SHA256)
    fetch("data.bin", tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    ranges = [requested for _, requested in server.requests]
    assert ranges == [None, f"bytes={2**20}-", f"bytes={2**21}-"]
    record = recorded(tmp_path / "data.bin")
    assert (record["sha256"], record["size"]) == (SHA256, len(CONTENT))
    assert len(record["fetched"]) == len("2016-06-27")
    assert sorted(os.listdir(tmp_path)) == ["data.bin", "data.bin.json"]


def test_a_file_that_changed_meanwhile_is_loaded_anew(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/data.bin", SHA256)
    leave_part(tmp_path, f"{server.url}/data.bin", b"old" * 1000, '"zero"')
    fetch("data.bin", tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests == [("/data.bin", "bytes=3000-")]


def test_a_part_of_another_address_is_loaded_anew(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/data.bin")
    leave_part(tmp_path, f"{server.url}/other.bin", b"old" * 1000)
    fetch("data.bin", tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests == [("/data.bin", None)]


def test_a_part_that_was_already_whole_is_taken(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/data.bin")
    leave_part(tmp_path, f"{server.url}/data.bin", CONTENT)
    fetch("data.bin", tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests == [("/data.bin", f"bytes={len(CONTENT)}-")]
    assert sorted(os.listdir(tmp_path)) == ["data.bin", "data.bin.json"]


@pytest.mark.parametrize(
    ("path", "arrived"), [("/shifted.bin", CONTENT[:1000]), ("/data.bin", CONTENT + b"more")]
)
def test_a_server_that_goes_on_elsewhere_is_asked_anew(
    server, monkeypatch, tmp_path, path, arrived
):
    publish(monkeypatch, f"{server.url}{path}")  # no sha256 would notice
    leave_part(tmp_path, f"{server.url}{path}", arrived)
    fetch("data.bin", tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests[-1] == (path, None)


def test_busy_servers_are_asked_again(server, monkeypatch, tmp_path):
    server.faults = 2
    publish(monkeypatch, f"{server.url}/busy.bin", SHA256)
    fetch("data.bin", tmp_path / "data.bin")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/cut.bin", "IncompleteRead"),
        ("/endless.bin", "does not say how long"),
    ],
)
def test_short_content_never_gets_the_final_name(server, monkeypatch, tmp_path, path, message):
    server.faults, server.etag = 99, 'W/"weak"'
    publish(monkeypatch, f"{server.url}{path}")
    with pytest.raises(OSError, match=message):
        fetch("data.bin", tmp_path / "data.bin")
    assert not (tmp_path / "data.bin").exists()


def test_redirects_to_files_are_refused(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/evil.bin")
    with pytest.raises(ValueError, match="redirect to file:///etc/passwd"):
        fetch("data.bin", tmp_path / "data.bin")
