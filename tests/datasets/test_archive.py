"""Zip archives that are hostile or damaged."""

import stat
import tracemalloc
import zipfile

import pytest

from lrtl.datasets.archive import Archive


def write(folder, name, data=b"data", mode=None):
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    if mode is not None:
        info.external_attr = mode << 16
    with zipfile.ZipFile(folder / "evil.zip", "w") as archive:
        archive.writestr(info, data)
    return folder / "evil.zip"


def patch_directory(archive, offset, value):
    """Overwrite bytes of the first entry of the central directory."""
    data = bytearray(archive.read_bytes())
    start = data.index(b"PK\x01\x02") + offset
    data[start : start + len(value)] = value
    archive.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg", "C:/evil.jpg", "."]
)
def test_unsafe_names_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="unsafe member name"):
        Archive(write(tmp_path, name))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(ValueError, match="not a plain file"):
        Archive(write(tmp_path, "link.jpg", b"/etc/passwd", kind | 0o777))


def test_bombs_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="would unpack"):
        Archive(write(tmp_path, "bomb.jpg", bytes(2**25)))
    monkeypatch.setattr("lrtl.datasets.archive.LARGEST_TOTAL", 3)
    with pytest.raises(ValueError, match="members would unpack to 4 bytes"):
        Archive(write(tmp_path, "four.jpg"))


def test_no_more_is_unpacked_than_stated(tmp_path):
    archive = write(tmp_path, "liar.jpg", bytes(2**24))
    patch_directory(archive, 24, (1000).to_bytes(4, "little"))  # the size unpacked
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"liar\.jpg is damaged"):
        Archive(archive).read("liar.jpg")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_encrypted_members_are_named(tmp_path):
    archive = write(tmp_path, "secret.jpg")
    patch_directory(archive, 8, b"\x01")
    with pytest.raises(ValueError, match=r"secret\.jpg is damaged .*encrypted"):
        Archive(archive).read("secret.jpg")


def test_members_are_read_and_missing_ones_named(tmp_path):
    archive = Archive(write(tmp_path, "a/b.jpg"))
    assert archive.names("a", (".jpg",)) == ["a/b.jpg"]
    assert archive.read("a/b.jpg") == b"data"
    with pytest.raises(ValueError, match=r"evil\.zip has no c\.jpg"):
        archive.read("c.jpg")
