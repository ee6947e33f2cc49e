"""SSC, LRR and LSR against a convex solver on points of known subspaces."""

import cvxpy as cp
import numpy as np
import pytest

from lrtl.baselines.subspace import least_squares, low_rank, sparse


def subspaces(seed=0, count=8, dimension=2, ambient=9, noise=0.05):
    """Points (D, N) of three subspaces, and which each is of."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.standard_normal((ambient, dimension)) @ rng.standard_normal((dimension, count))
        for _ in range(3)
    ]
    points = np.concatenate(parts, 1)
    return points + noise * rng.standard_normal(points.shape), np.repeat(np.arange(3), count)


@pytest.mark.parametrize("affine", [False, True])
def test_sparse_is_the_convex_solution(affine):
    data, _ = subspaces()
    count = data.shape[1]
    products = np.abs(data.T @ data) - np.diag((data**2).sum(0))
    weight = 100 / products.max(0).min()
    c = cp.Variable((count, count))
    constraints = [cp.diag(c) == 0] + [cp.sum(c, axis=0) == 1] * affine
    value = cp.sum(cp.abs(c)) + weight / 2 * cp.sum_squares(data - data @ c)
    cp.Problem(cp.Minimize(value), constraints).solve(solver=cp.CLARABEL)
    found = sparse(data, 100, affine, iterations=20_000, tolerance=0)

    def objective(c):
        return np.abs(c).sum() + weight / 2 * ((data - data @ c) ** 2).sum()

    assert objective(found) == pytest.approx(objective(c.value), rel=1e-7)
    np.testing.assert_allclose(found, c.value, atol=1e-5 if not affine else 0.03)  # nearly flat
    if affine:
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-9)
    # At the original's tolerance of 2e-4 and its 200 steps it is near, not there.
    assert np.abs(sparse(data, 100, affine) - c.value).mean() < 0.02


def test_low_rank_is_the_convex_solution():
    data, _ = subspaces(1)
    data[:, 5] += 2  # an outlier
    z = cp.Variable((data.shape[1], data.shape[1]))
    value = cp.normNuc(z) + 0.2 * cp.sum(cp.norm(data - data @ z, axis=0))
    cp.Problem(cp.Minimize(value)).solve(solver=cp.CLARABEL)
    found = low_rank(data, 0.2, 1.01, 10_000)

    def objective(z):
        error = np.linalg.norm(data - data @ z, axis=0).sum()
        return np.linalg.norm(z, "nuc") + 0.2 * error

    assert objective(found) == pytest.approx(objective(z.value), rel=1e-4)
    np.testing.assert_allclose(found, z.value, atol=2e-3)


def test_least_squares_is_the_convex_solution():
    data, _ = subspaces(2)
    c = cp.Variable((data.shape[1], data.shape[1]))
    value = cp.sum_squares(data - data @ c) + 0.3 * cp.sum_squares(c)
    cp.Problem(cp.Minimize(value)).solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(least_squares(data, 0.3), c.value, atol=1e-5)


@pytest.mark.parametrize(
    "solve",
    [
        lambda data: sparse(data, 100, False),
        lambda data: low_rank(data, 0.2, 1.01, 10_000),
        lambda data: least_squares(data, 1e-3),
    ],
    ids=["sparse", "low_rank", "least_squares"],
)
def test_points_are_written_by_points_of_their_subspace(solve):
    data, labels = subspaces(3, count=20, noise=0)
    share = np.abs(solve(data))
    same = labels[:, None] == labels
    assert share[same].sum() > 20 * share[~same].sum()


def test_the_precision_of_the_data_is_kept():
    data, _ = subspaces(4)
    single = sparse(data.astype(np.float32), 100, True)
    assert single.dtype == least_squares(data.astype(np.float32), 0.1).dtype == np.float32
    np.testing.assert_allclose(single, sparse(data, 100, True), atol=1e-2)
