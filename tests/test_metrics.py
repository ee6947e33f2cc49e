"""J, its oracle and its statistics against independent definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtl.metrics import jaccard, oracle_jaccard, statistics


def test_jaccard_by_hand():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert jaccard(a, b) == pytest.approx(4 / 12)
    assert jaccard(a, a) == 1
    assert jaccard(a, ~a) == 0
    assert jaccard(np.zeros_like(a), np.zeros_like(a)) == 1  # DAVIS's convention


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_oracle_is_the_best_of_all_unions(count, seed):
    rng = np.random.default_rng(seed)
    components = rng.integers(count, size=(7, 9)).astype(np.uint8)
    truth = rng.random((7, 9)) < rng.random()
    if not truth.any():
        truth[0, 0] = True
    unions = (
        np.isin(components, [k for k in range(count) if code >> k & 1])
        for code in range(1, 2**count)
    )
    best = max(jaccard(union, truth) for union in unions)
    assert oracle_jaccard(components, truth) == pytest.approx(best)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=8, max_size=90))
def test_statistics_are_those_of_the_davis_evaluator(values):
    """As the published evaluator computes them: nanmean, share above 0.5, first and last bin."""
    values = np.array(values)
    ids = np.round(np.linspace(1, len(values), 5) + 1e-10) - 1
    ids = ids.astype(np.uint8)
    bins = [values[ids[i] : ids[i + 1] + 1] for i in range(4)]
    result = statistics(values)
    assert result["mean"] == pytest.approx(np.nanmean(values))
    assert result["recall"] == pytest.approx(np.nanmean(values > 0.5))
    assert result["decay"] == pytest.approx(np.nanmean(bins[0]) - np.nanmean(bins[3]))
