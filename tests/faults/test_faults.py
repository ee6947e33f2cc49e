"""Every fault, once or twice: `python -m tests.faults --injections 100` is the long form."""

import pytest

from tests.faults.__main__ import FAULTS, inject
from tests.faults.undisturbed import Undisturbed


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.stage}: {fault.name}")
def test_a_fault_costs_a_unit_at_most(whole, fault, capsys):
    row = inject(fault, whole, 2 if fault.name == "SIGKILL" else 1)
    if not row["injections"]:
        pytest.skip(row["note"])
    printed = capsys.readouterr()
    assert row["survived"] == row["injections"], printed.out + printed.err
    assert (row["accepted"], row["lost"] <= 1) == (0, True)
