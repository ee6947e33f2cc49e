"""Checking a folder of products against the checksums they were written with."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from lrtl.files import STAMP, SUMS, check_record, sum_of

UNFINISHED = (".partial", ".whole", ".checkpoint")


def verify(results: Path) -> Counter:
    """Print every damaged, missing and unrecorded file of a folder, and their numbers.

    What is still being made, partial stores and checkpoints, is left out.

    Returns:
        The number of files by what is wrong with them; None stands for nothing.

    Raises:
        ValueError: there is no such folder.
    """
    if not results.is_dir():
        raise ValueError(f"{results} is not a folder")
    counts: Counter = Counter()
    bar = tqdm(list(products(results)), "verify", unit="product")
    for product in bar:
        for path, fault in checked(product):
            counts[fault] += 1
            if fault:
                bar.write(f"{fault}: {path}; delete {product} and make it again")
    faults = ", ".join(f"{counts[fault]} {fault}" for fault in ("damaged", "missing", "unrecorded"))
    print(f"{results}: {counts.total()} files, {faults}")
    return counts


def products(folder: Path) -> Iterator[Path]:
    """Folders with checksums and single files below a folder, files that are gone among them."""
    if (folder / SUMS).exists():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.name.endswith(UNFINISHED) or path.name == STAMP:
            continue
        if path.is_dir():
            yield from products(path)
        elif path.suffix != ".sha256":
            yield path
        elif not path.with_suffix("").exists():
            yield path.with_suffix("")


def checked(product: Path) -> Iterator[tuple[Path, str | None]]:
    """Check the files of a product: path and "damaged", "missing", "unrecorded" or None."""
    if product.is_dir():
        record = product / SUMS
        files = {path for path in product.rglob("*") if path.is_file() and path.name != STAMP}
    else:
        record, files = sum_of(product), {product}
    found = dict(check_record(record)) if record.exists() else {}
    yield from found.items()
    if record not in found:  # it could be read
        for path in sorted(files - found.keys() - {record}):
            yield path, "unrecorded"
