"""The flow loss of "Guess What Moves" (BMVC 2022), Eq. 3; in the LRTL paper Eq. 1 and 2."""

from functools import lru_cache
from itertools import chain

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
    basis = quadratic_basis(*flow.shape[-2:], masks)[: MODELS[model]]  # (P, HW)
    flow = flow.to(masks.dtype).contiguous()
    if convention == "released":
        return F.mse_loss(_Explained.apply(masks, flow, basis), flow)
    power, products = (2 if convention == "paper" else 1), basis_products(basis)
    images = zip(masks, flow, strict=True)
    return sum(_separate(*image, basis, products, power) for image in images) / flow.numel()


def _upsample(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (K, h, w) of an image at a size: (K, HW)."""
    masks = F.interpolate(masks[None], size, mode="bilinear", align_corners=False)
    return masks[0].flatten(1)


def _separate(masks: Tensor, flow: Tensor, basis: Tensor, products: Tensor, power: int) -> Tensor:
    """Sum over segments of their own squared residuals, weighted by m^power in fit and sum."""
    weights = _upsample(masks, flow.shape[-2:]).pow(power)
    return (weights * squared_residuals(weights, flow.flatten(1), basis, products)).sum()


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
def squared_residuals(weights: Tensor, target: Tensor, basis: Tensor, products: Tensor) -> Tensor:
    """Squared residuals (..., K, N) of K models, each fitted to all of the target by its weights.

    As the models minimise the weighted sum of these, its derivative by the weights is these alone:
    they need no gradient of their own.

    Args:
        weights: (..., K, N) of the squared residuals.
        target: (..., 2, N).
        basis: (..., P, N) float64.
        products: (..., P * P, N), its `basis_products`.
    """
    _, theta = _fit(weights.double(), target.double(), basis, products)  # (..., K, P, 2)
    residuals = torch.zeros_like(weights)
    for direction in range(2):
        models = (theta[..., direction] @ basis).to(weights.dtype)  # (..., K, N)
        residuals += (target[..., direction, None, :] - models).square_()
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
    """Sum over K of m_k theta_k^T P, models fitted with squared residuals weighted by m^2.

    An image at a time takes less memory, and less time where that stays in a cache.
    """

    @staticmethod
    def forward(ctx, masks: Tensor, flow: Tensor, basis: Tensor) -> Tensor:
        products, explained, fits = basis_products(basis), torch.empty_like(flow), []
        for mask, target, out in zip(masks, flow, explained, strict=True):
            fits.append(_explain(mask, target, basis, products, out))
        ctx.save_for_backward(masks, flow, basis, *chain(*fits))
        return explained

    @staticmethod
    def backward(ctx, gradient: Tensor):
        masks, flow, basis, *fits = ctx.saved_tensors
        products, result = basis_products(basis), torch.empty_like(masks)
        images = zip(masks, flow, gradient, fits[::2], fits[1::2], result, strict=True)
        for *image, out in images:
            _explain_backward(*image, basis, products, out)
        return result, None, None


def _explain(mask: Tensor, flow: Tensor, basis: Tensor, products: Tensor, out: Tensor):
    """Explain the flow (2, H, W) of an image into `out`; returns the fit."""
    weights = _upsample(mask, flow.shape[-2:])  # (K, HW)
    squared = weights.double().square()
    normal, theta = _fit(squared, flow.double().flatten(1), basis, products)
    models = theta.mT.to(mask.dtype) @ basis.to(mask.dtype)  # (K, 2, HW)
    out.copy_(models.mul_(weights[:, None]).sum(0).view_as(flow))
    return normal, theta


def _explain_backward(mask, flow, gradient, normal, theta, basis, products, out) -> None:
    """Turn a gradient (2, H, W) by what is explained into one by the mask, written into `out`.

    Both sides of P diag(m^2) P^T theta = P diag(m^2) F^T depend on m: with the solution l of the
    same equations for the gradient by theta, that by m_n is 2 m_n l^T p_n (f_n - theta^T p_n)^T
    through the fit, and theta^T p_n times the given gradient beside it.
    """
    with torch.enable_grad():
        mask = mask.detach().requires_grad_()
        upsampled = _upsample(mask, flow.shape[-2:])  # (K, HW)
    weights, flow, gradient = upsampled.detach(), flow.flatten(1), gradient.flatten(1)
    single = basis.to(weights.dtype)
    by_theta = (gradient * weights[:, None]) @ single.mT  # (K, 2, P)
    by_moments, _ = torch.linalg.solve_ex(normal.mT, by_theta.double().mT)  # (K, P, 2)
    by_normal = -by_moments @ theta.mT  # (K, P, P)
    by_squared = by_normal.flatten(1) @ products  # (K, HW)
    for direction in range(2):
        by_squared += (by_moments[..., direction] @ basis).mul_(flow[direction])
    by_weights = by_squared.mul_(weights).mul_(2).to(weights.dtype)
    models = theta.mT.to(weights.dtype) @ single  # (K, 2, HW)
    by_weights += models.mul_(gradient).sum(1)
    out.copy_(*torch.autograd.grad(upsampled, mask, by_weights))
