"""The flow loss of "Guess What Moves" (BMVC 2022), Eq. 3; in the LRTL paper Eq. 1 and 2."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

MODELS = {"constant": 1, "affine": 3, "quadratic": 6}  # leading polynomials of the basis
CONVENTIONS = ("released", "paper", "gwm_paper")
RIDGE = 1e-9  # of normal equations: an empty segment has a model too


def flow_loss(
    masks: Tensor, flow: Tensor, model: str = "quadratic", convention: str = "released"
) -> Tensor:
    """Mean squared residual of the flow explained by a parametric motion model per segment.

    Args:
        masks: (B, K, h, w) soft masks that sum to one; upsampled bilinearly to the flow's size.
        flow: (B, 2, H, W) in pixels of a 854 x 480 frame.
        model: a key of `MODELS`.
        convention: for soft masks m, `released`, as the code: models fitted to squared residuals
            weighted by m^2, and the residual of their sum, weighted by m; `paper`, Eq. 2 of LRTL:
            the residuals of each segment, their squares weighted by m^2 in fit and loss and summed
            over K; `gwm_paper`, Eq. 3 of GWM: the same weighted by m.

    Returns:
        Scalar, squared pixels; for `paper` and `gwm_paper` too a mean over pixels and directions.
    """
    masks = F.interpolate(masks, flow.shape[-2:], mode="bilinear", align_corners=False)
    weights = masks.flatten(2)  # (B, K, HW)
    target = flow.flatten(2).to(masks.dtype)  # (B, 2, HW)
    basis = quadratic_basis(*flow.shape[-2:], masks)[: MODELS[model]]  # (P, HW)
    if convention == "released":
        products = basis_products(basis)
        images = zip(weights, target, strict=True)  # one at a time takes less memory, and time
        explained = torch.stack([_Explained.apply(*image, basis, products) for image in images])
        return F.mse_loss(explained, target)
    if convention == "paper":
        weights = weights.square()
    residuals = squared_residuals(weights, target, basis)  # (B, K, HW)
    return (weights * residuals).sum() / target.numel()


def quadratic_basis(height: int, width: int, like: Tensor) -> Tensor:
    """Orthonormal basis (6, HW) float64 of the polynomials [1, x, y, x^2, xy, y^2] on the grid.

    It spans what the papers' basis of raw monomials spans, so fits and residuals are the same; the
    products of its rows sum to the identity over the frame, so its normal equations are well posed.
    Its first row is constant, the first three affine.
    """
    return _grid_basis(height, width, like.device)


@lru_cache(maxsize=2)
def _grid_basis(height: int, width: int, device: torch.device) -> Tensor:
    options = {"dtype": torch.float64, "device": device}
    y = torch.linspace(-1, 1, height, **options)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, **options)[None].expand(height, width)
    orthonormal, _ = torch.linalg.qr(monomials(x, y).flatten(1).T)  # (HW, 6)
    return orthonormal.T * (height * width) ** 0.5


def monomials(x: Tensor, y: Tensor) -> Tensor:
    """The polynomials 1, x, y, x^2, xy, y^2, stacked in front: (6, ...)."""
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])


def basis_products(basis: Tensor) -> Tensor:
    """Products of all pairs of rows: (..., P, N) to (..., P * P, N)."""
    return (basis[..., :, None, :] * basis[..., None, :, :]).flatten(-3, -2)


@torch.no_grad()
def squared_residuals(weights: Tensor, target: Tensor, basis: Tensor) -> Tensor:
    """Squared residuals (B, K, N) of K models, each fitted to all of the target by its weights.

    As the models minimise the weighted sum of these, its derivative by the weights is these alone:
    they need no gradient of their own.

    Args:
        weights: (B, K, N) of the squared residuals.
        target: (B, 2, N).
        basis: (P, N) or (B, P, N) float64.
    """
    products = basis_products(basis)
    theta = _fit(weights.double(), target.double(), basis, products)[1]  # (B, K, P, 2)
    residuals = torch.zeros_like(weights)
    for direction in range(2):
        models = (theta[..., direction] @ basis).to(weights.dtype)  # (B, K, N)
        residuals += (target[:, direction, None] - models).square_()
    return residuals


def _fit(weights: Tensor, target: Tensor, basis: Tensor, products: Tensor):
    """Weighted least squares, sum_n w_n |f_n - theta^T p_n|^2, by normal equations in float64.

    Returns:
        Their matrices (..., K, P, P) and solutions (..., K, P, 2) for weights (..., K, N) and
        a target (..., 2, N).
    """
    terms = basis.shape[-2]
    normal = (weights @ products.mT).unflatten(-1, (terms, terms))  # (..., K, P, P)
    moments = [(weights * flow[..., None, :]) @ basis.mT for flow in target.unbind(-2)]
    ridge = RIDGE * torch.eye(terms, dtype=normal.dtype, device=normal.device)
    solution, _ = torch.linalg.solve_ex(normal + ridge, torch.stack(moments, -1))  # (..., K, P, 2)
    return normal + ridge, solution


class _Explained(torch.autograd.Function):
    """Sum over K of w_k theta_k^T P, models of an image fitted with squared residuals by w^2.

    In P diag(w^2) P^T theta = P diag(w^2) F^T both sides depend on w: with the solution l of the
    same equations for the gradient by theta, that by w_n is 2 w_n l^T p_n (f_n - theta^T p_n)^T
    through the fit and theta^T p_n times the outer gradient beside it.
    """

    @staticmethod
    def forward(ctx, weights: Tensor, target: Tensor, basis: Tensor, products: Tensor) -> Tensor:
        squared = weights.double().square()  # (K, HW)
        normal, theta = _fit(squared, target.double(), basis, products)  # (K, P, 2)
        models = theta.mT.to(weights.dtype) @ basis.to(weights.dtype)  # (K, 2, HW)
        ctx.save_for_backward(weights, target, basis, products, normal, theta)
        return (weights[:, None] * models).sum(0)  # (2, HW)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        weights, target, basis, products, normal, theta = ctx.saved_tensors
        single = basis.to(weights.dtype)
        by_theta = (gradient * weights[:, None]) @ single.mT  # (K, 2, P)
        by_moments, _ = torch.linalg.solve_ex(normal.mT, by_theta.double().mT)  # (K, P, 2)
        by_normal = -by_moments @ theta.mT  # (K, P, P)
        by_squared = by_normal.flatten(1) @ products  # (K, HW)
        for direction in range(2):
            by_squared += (by_moments[..., direction] @ basis) * target[direction]
        models = theta.mT.to(weights.dtype) @ single  # (K, 2, HW)
        by_weights = (by_squared * weights * 2).to(weights.dtype)
        return by_weights + (gradient * models).sum(1), None, None, None
