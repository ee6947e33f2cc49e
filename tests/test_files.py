"""Products appear whole, with checksums that `sha256sum` checks too."""

import os
import subprocess

import pytest

from lrtl.files import check_file, check_folder, checked, whole_file, whole_folder


def sha256sum(record):
    command = ["sha256sum", "--check", "--strict", "--quiet", record.name]
    return subprocess.run(command, cwd=record.parent, capture_output=True).returncode


def test_a_file_appears_whole_with_its_checksum(tmp_path):
    with pytest.raises(RuntimeError), whole_file(tmp_path / "table.csv") as path:
        path.write_text("half")
        raise RuntimeError
    assert not os.listdir(tmp_path)
    for text in ("first", "second"):
        with whole_file(tmp_path / "table.csv") as path:
            path.write_text(text)
        assert sorted(os.listdir(tmp_path)) == ["table.csv", "table.csv.sha256"]
        check_file(tmp_path / "table.csv")
        assert sha256sum(tmp_path / "table.csv.sha256") == 0


def test_a_kill_never_leaves_the_checksum_of_another_file(tmp_path, monkeypatch):
    with whole_file(tmp_path / "table.csv") as path:
        path.write_text("first")
    original = os.replace

    def killed(source, target):
        original(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "table.csv") as path:
        path.write_text("second")
    assert os.listdir(tmp_path) == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "second"


def test_a_folder_appears_whole_with_its_checksums(tmp_path):
    with whole_folder(tmp_path / "run") as folder:
        (folder / "a").mkdir()
        for name in ("a/one.txt", "two.txt"):
            (folder / name).write_text(name)
        assert not (tmp_path / "run").exists()
    check_folder(tmp_path / "run")
    assert sha256sum(tmp_path / "run" / "SHA256SUMS") == 0
    (tmp_path / "run" / "two.txt").write_text("2wo.txt")
    check_folder(tmp_path / "run", "a/*")
    with pytest.raises(ValueError, match=r"two\.txt is damaged"):
        check_folder(tmp_path / "run")
    (tmp_path / "run" / "two.txt").unlink()
    with pytest.raises(ValueError, match=r"two\.txt is missing"):
        check_folder(tmp_path / "run", "a/*")


def test_a_folder_without_a_record_of_its_own(tmp_path):
    with whole_folder(tmp_path / "run", record=False) as folder, whole_file(folder / "a") as path:
        path.write_text("a")
    assert sorted(os.listdir(tmp_path / "run")) == ["a", "a.sha256"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "missing"),
        (b"", "table.csv.sha256 is damaged"),
        (b"0" * 64 + b"  table.csv\n", "table.csv is damaged"),
        (b"0" * 64 + b" table.csv\n", "table.csv.sha256 is damaged"),
        (b"0" * 64 + b"  table.csv", "table.csv.sha256 is damaged"),
        (b"0" * 64 + b"  t\xe1ble.csv\n", "table.csv.sha256 is damaged"),
        (b"0" * 64 + b"  sable.csv\n", "sable.csv is missing"),
        (2 * (b"0" * 64 + b"  table.csv\n"), "table.csv.sha256 is damaged"),
    ],
)
def test_damaged_records_are_refused(tmp_path, record, message):
    with whole_file(tmp_path / "table.csv") as path:
        path.write_text("text")
    if record is None:
        (tmp_path / "table.csv.sha256").unlink()
    else:
        (tmp_path / "table.csv.sha256").write_bytes(record)
    with pytest.raises(ValueError, match=message):
        check_file(tmp_path / "table.csv")


def test_what_has_a_record_is_checked_and_what_has_none_is_not(tmp_path):
    with whole_file(tmp_path / "table.csv") as path:
        path.write_text("text")
    with whole_folder(tmp_path / "masks") as folder:
        (folder / "00000.png").write_text("mask")
    (tmp_path / "theirs.csv").write_text("text")
    for name in ("table.csv", "masks", "theirs.csv"):
        assert checked(tmp_path / name) == tmp_path / name
    for name in ("table.csv", "masks/00000.png"):
        (tmp_path / name).write_text("harm")
    with pytest.raises(ValueError, match=r"table\.csv is damaged; delete .*run its rule again"):
        checked(tmp_path / "table.csv")
    with pytest.raises(ValueError, match=r"00000\.png is damaged; delete .*masks and run its"):
        checked(tmp_path / "masks")
