"""Products that appear under their final name only when they are whole, and their checksums.

A folder holds the sums of its files in `SHA256SUMS`, a file has its own in `NAME.sha256` beside it,
both in the format of `sha256sum`.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

SUMS = "SHA256SUMS"
STAMP = ".snakemake_timestamp"  # Snakemake leaves it in the folders it tracks


@contextmanager
def whole_file(path: Path, record: bool = True) -> Iterator[Path]:
    """Give a temporary name to write to; the file gets its final name when the block succeeds.

    With `record` its checksum is written beside it. A kill between the two leaves the file without
    a record, never with that of another file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    new_sum = sum_of(temporary)
    try:
        yield temporary
        if record:
            new_sum.write_text(_line(temporary, path.name))
            sum_of(path).unlink(missing_ok=True)
        os.replace(temporary, path)
        if record:
            os.replace(new_sum, sum_of(path))
    finally:
        temporary.unlink(missing_ok=True)
        new_sum.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, record: bool = True) -> Iterator[Path]:
    """Give an empty temporary folder; it replaces the folder `path` when the block succeeds.

    With `record` the checksums of its files are written into it.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if record:
            write_sums(temporary)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sum_of(path: Path) -> Path:
    """Where the checksum of a file is recorded."""
    return path.with_name(path.name + ".sha256")


def write_sums(folder: Path) -> None:
    """Record the checksums of all files of a folder in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [_line(path, path.relative_to(folder).as_posix()) for path in files]
    (folder / SUMS).write_text("".join(lines))


def check_record(record: Path, names: str = "*") -> Iterator[tuple[Path, str | None]]:
    """Check the files of a record, `NAME.sha256` or `SHA256SUMS`, one after the other.

    Args:
        record: the record; the names in it are relative to its folder.
        names: a pattern; of files that do not match it only the presence is checked.

    Yields:
        Path and what is wrong with it: "damaged", "missing" or None; a record that cannot be read
        is itself damaged or missing.
    """
    try:
        lines = record.read_text().split("\n")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        yield record, "missing" if isinstance(error, FileNotFoundError) else "damaged"
        return
    matches = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines[:-1]]
    if lines[-1] or not all(matches) or len({match[2] for match in matches}) < len(matches):
        yield record, "damaged"
        return
    for digest, name in (match.groups() for match in matches):
        path = record.parent / name
        if not path.is_file():
            yield path, "missing"
        elif fnmatchcase(name, names) and sha256_of(path) != digest:
            yield path, "damaged"
        else:
            yield path, None


def check_folder(folder: Path, names: str = "*") -> None:
    """Raise ValueError if a file of a product is missing, or one that matches `names` damaged."""
    for path, fault in check_record(Path(folder) / SUMS, names):
        if fault:
            raise ValueError(f"{path} is {fault}")


def check_file(path: Path) -> None:
    """Raise ValueError unless a file is as it was recorded."""
    path = Path(path)
    found = dict(check_record(sum_of(path)))
    for name, fault in found.items():
        if fault:
            raise ValueError(f"{name} is {fault}")
    if list(found) != [path]:
        raise ValueError(f"{sum_of(path)} is damaged")


def checked(path: Path) -> Path:
    """A file or a folder that is as it was recorded; one without a record is somebody else's.

    Raises:
        ValueError: it is not; the file is named.
    """
    path = Path(path)
    try:
        if (path / SUMS).exists():
            check_folder(path)
        elif sum_of(path).exists():
            check_file(path)
    except ValueError as error:
        raise ValueError(f"{error}; delete {path} and run its rule again") from error
    return path


def _line(path: Path, name: str) -> str:
    return f"{sha256_of(path)}  {name}\n"


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV."""
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False)


def write_text(text: pd.DataFrame, csv: Path) -> None:
    """Write a table of text as Markdown and LaTeX beside `NAME.csv`: `NAME.md` and `NAME.tex`."""
    with whole_file(csv.with_suffix(".md")) as temporary:
        temporary.write_text(text.to_markdown(index=False, disable_numparse=True) + "\n")
    with whole_file(csv.with_suffix(".tex")) as temporary:
        temporary.write_text(text.to_latex(index=False, escape=True))


def read_csv(path: Path, **options) -> pd.DataFrame:
    """Read a table that is as it was recorded; options are those of pandas."""
    return pd.read_csv(checked(path), **options)
