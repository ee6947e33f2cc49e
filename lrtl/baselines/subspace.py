"""Subspace clustering of trajectories: each is written as a combination of the others.

Functions take data (D, N), a column for each trajectory, and return coefficients (N, N): column n
writes trajectory n. N x N matrices set the memory: in float32 one takes 4 N^2 bytes, 4 MB for 1,024
trajectories and 1.1 GB for the 16,384 pixels of a frame of 128 x 128.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

SSC_TOLERANCE = 2e-4  # of the original, on the largest violation of a constraint
LRR_TOLERANCE = 1e-8
LRR_START, LRR_LIMIT = 1e-6, 1e10  # of the penalty, as in the original


def sparse(
    data: np.ndarray,
    alpha: float,
    affine: bool,
    iterations: int = 200,
    tolerance: float = SSC_TOLERANCE,
) -> np.ndarray:
    """Sparse subspace clustering (SSC) by ADMM; holds five N x N matrices.

    min |C|_1 + mu / 2 |X - X C|^2 with C_nn = 0, and columns of C that sum to 1 if `affine`;
    mu = alpha / min_n max_m |x_n . x_m|, m not n. Elhamifar and Vidal, "Sparse subspace
    clustering", PAMI 2013, Eq. 12 without outliers, and its appendix.

    Args:
        alpha: weight of the fit, above 1; also the penalty of the ADMM.
        affine: whether subspaces need not contain the origin.
    """
    count, kind = data.shape[1], data.dtype
    rows = data * (alpha / _smallest_weight(data)) ** 0.5
    if affine:
        rows = np.concatenate([rows, np.full((1, count), alpha**0.5, kind)])  # (D + 1, N)
    # `fitted` is (alpha I + A^T A)^-1 (A^T A + target) for A = rows, by Woodbury's identity.
    small = cho_factor(alpha * np.eye(len(rows), dtype=kind) + rows @ rows.T)
    diagonal = np.diag_indices(count)
    coefficients, dual = np.zeros((2, count, count), kind)
    dual_sum = np.zeros(count, kind)
    for _ in range(iterations):
        fitted = alpha * coefficients - dual - dual_sum
        fitted[diagonal] -= alpha
        fitted -= rows.T @ cho_solve(small, rows @ fitted)
        fitted /= alpha
        fitted[diagonal] += 1
        coefficients = _shrink(fitted + dual / alpha, 1 / alpha)
        coefficients[diagonal] = 0
        gap = fitted - coefficients
        dual += alpha * gap
        excess = fitted.sum(0) - 1 if affine else np.zeros(1, kind)
        dual_sum = dual_sum + alpha * excess
        if max(np.abs(gap).max(), np.abs(excess).max()) < tolerance:
            break
    return coefficients


def low_rank(data: np.ndarray, penalty: float, growth: float, iterations: int) -> np.ndarray:
    """Low-rank representation (LRR) by the inexact augmented Lagrangian; holds one N x N matrix.

    min |Z|_* + penalty |E|_2,1 with X = X Z + E, |E|_2,1 the sum of the columns' lengths. Liu et
    al., "Robust recovery of subspace structures by low-rank representation", PAMI 2013, Alg. 1.
    Z is in the row space of X, so that all steps are on D x N matrices (Sec. 3.3 there).

    Args:
        growth: rho, by which the ADMM's penalty grows at each of at most `iterations`.
    """
    data = data.astype(np.float64)
    left, singular, right = np.linalg.svd(data, full_matrices=False)
    kept = singular > singular[0] * 1e-10
    basis, right = left[:, kept] * singular[kept], right[kept]  # X = basis right; Z = right^T W
    inverse = np.linalg.inv(np.eye(basis.shape[1]) + basis.T @ basis)
    weights = np.zeros((basis.shape[1], data.shape[1]))  # W (r, N)
    error, dual, dual_weights = np.zeros_like(data), np.zeros_like(data), np.zeros_like(weights)
    scale = LRR_START
    for _ in range(iterations):
        lowered = _shrink_singular(weights + dual_weights / scale, 1 / scale)
        target = basis.T @ (data - error) + lowered + (basis.T @ dual - dual_weights) / scale
        weights = inverse @ target
        residual = data - basis @ weights
        error = _shrink_columns(residual + dual / scale, penalty / scale)
        gaps = residual - error, weights - lowered
        if max(np.abs(gap).max() for gap in gaps) < LRR_TOLERANCE:
            break
        dual += scale * gaps[0]
        dual_weights += scale * gaps[1]
        scale = min(LRR_LIMIT, growth * scale)
    return right.T @ weights


def least_squares(data: np.ndarray, penalty: float) -> np.ndarray:
    """Least squares regression (LSR): min |X - X C|^2 + penalty |C|^2; holds one N x N matrix.

    Lu et al., "Robust and efficient subspace segmentation via least squares regression", ECCV 2012,
    Eq. 10.
    """
    gram = data @ data.T
    return data.T @ np.linalg.solve(gram + penalty * np.eye(len(data), dtype=data.dtype), data)


def _smallest_weight(data: np.ndarray) -> float:
    """The weight mu below which SSC's C vanishes: min over n of max over m not n of |x_n . x_m|."""
    products = np.abs(data.T @ data)
    np.fill_diagonal(products, 0)
    return float(products.max(0).min())


def _shrink(values: np.ndarray, step: float) -> np.ndarray:
    return np.sign(values) * np.maximum(np.abs(values) - step, 0)


def _shrink_columns(values: np.ndarray, step: float) -> np.ndarray:
    """Shorten columns by `step`, those that are shorter to zero."""
    length = np.linalg.norm(values, axis=0)
    return values * (np.maximum(length - step, 0) / np.maximum(length, 1e-300))


def _shrink_singular(values: np.ndarray, step: float) -> np.ndarray:
    """Lower the singular values of a wide matrix (r, N) by `step`, those below to zero."""
    squares, vectors = np.linalg.eigh(values @ values.T)
    singular = np.sqrt(np.maximum(squares, 0))
    kept = singular > step
    scale = (singular[kept] - step) / singular[kept]
    return (vectors[:, kept] * scale) @ (vectors[:, kept].T @ values)
