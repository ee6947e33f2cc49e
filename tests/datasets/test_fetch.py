"""Published files from mirrors, archives and the official address; a full disk."""

import io
import os
import subprocess
import zipfile

import pytest

from lrtl.datasets.fetch import checked_sha256, fetch, recorded
from tests.datasets.server import CONTENT, SHA256, publish


def zipped(member):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, CONTENT)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["folder", "official"])
def test_a_member_is_taken_out_of_its_archive(server, monkeypatch, tmp_path, kind):
    server.files["/models.zip"] = zipped("models/data.bin")
    official = f"{server.url}/models.zip" if kind == "official" else "http://127.0.0.1:9/models.zip"
    publish(monkeypatch, official, SHA256, "models/data.bin")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "models.zip").write_bytes(server.files["/models.zip"])
    out = tmp_path / "out" / "data.bin"
    fetch("data.bin", out, str(mirror) if kind == "folder" else None)
    assert out.read_bytes() == CONTENT
    assert recorded(out)["source"].endswith("models.zip")
    assert sorted(os.listdir(out.parent)) == ["data.bin", "data.bin.json"]
    assert checked_sha256(out) == SHA256
    out.write_bytes(b"+" + CONTENT[1:])
    with pytest.raises(ValueError, match=r"data\.bin is damaged: .* fetch it again"):
        checked_sha256(out)


def test_a_damaged_archive_around_a_member_is_not_kept(server, monkeypatch, tmp_path):
    server.files["/models.zip"] = zipped("models/data.bin")[:-50]
    publish(monkeypatch, f"{server.url}/models.zip", None, "models/data.bin")
    with pytest.raises(ValueError, match="not a whole zip archive"):
        fetch("data.bin", tmp_path / "data.bin")
    assert os.listdir(tmp_path) == []


def test_wrong_content_never_gets_the_final_name(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"{server.url}/data.bin", "0" * 64)
    with pytest.raises(ValueError, match=r"data\.bin from .* sha256 .* published is 0000"):
        fetch("data.bin", tmp_path / "data.bin")
    assert os.listdir(tmp_path) == []


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
    with pytest.raises(OSError, match=r"cannot read data\.bin from the mirror http.*correct"):
        fetch("data.bin", out, "http://127.0.0.1:9/")


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
