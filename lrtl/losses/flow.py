"""The flow loss of "Guess What Moves" (BMVC 2022), Eq. 3; in the LRTL paper Eq. 1 and 2."""

from functools import lru_cache
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from lrtl.losses.blocks import blocks

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
    power = 2 if convention == "paper" else 1
    images = zip(masks, flow, strict=True)
    return sum(_separate(*image, basis, power) for image in images) / flow.numel()


def _upsample(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (K, h, w) of an image at a size: (K, HW)."""
    masks = F.interpolate(masks[None], size, mode="bilinear", align_corners=False)
    return masks[0].flatten(1)


def _separate(masks: Tensor, flow: Tensor, basis: Tensor, power: int) -> Tensor:
    """Sum over segments of their own squared residuals, weighted by m^power in fit and sum."""
    weights = _upsample(masks, flow.shape[-2:]).pow(power)
    return (weights * squared_residuals(weights, flow.flatten(1), basis)).sum()


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


@torch.no_grad()
def squared_residuals(weights: Tensor, target: Tensor, basis: Tensor) -> Tensor:
    """Squared residuals (..., K, N) of K models, each fitted to all of the target by its weights.

    As the models minimise the weighted sum of these, its derivative by the weights is these alone:
    they need no gradient of their own.

    Args:
        weights: (..., K, N) of the squared residuals.
        target: (..., 2, N).
        basis: (..., P, N) float64.
    """
    _, theta = _fit(weights, target, basis)  # (..., K, P, 2)
    residuals = torch.zeros_like(weights)
    for direction in range(2):
        models = (theta[..., direction] @ basis).to(weights.dtype)  # (..., K, N)
        residuals += (target[..., direction, None, :] - models).square_()
    return residuals


def normal_equations(weights: Tensor, target: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides of weighted least squares, sum_n w_n |f_n - theta^T p_n|^2, in float64.

    Returns:
        Matrices (..., K, P, P) and moments (..., K, P, 2) for weights (..., K, N), a target
        (..., 2, N) and a basis (..., P, N) float64.
    """
    segments, terms = weights.shape[-2], basis.shape[-2]
    normal, moments = 0, 0
    for weight, flow, rows in blocks(weights, target, basis):
        weighted = weight.double()[..., None, :] * rows[..., None, :, :]  # (..., K, P, C)
        weighted = weighted.flatten(-3, -2)
        normal = normal + weighted @ rows.mT
        moments = moments + weighted @ flow.double().mT
    return normal.unflatten(-2, (segments, terms)), moments.unflatten(-2, (segments, terms))


def _fit(weights: Tensor, target: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices (..., K, P, P) of `normal_equations` and their solutions (..., K, P, 2)."""
    normal, moments = normal_equations(weights, target, basis)
    ridge = RIDGE * torch.eye(basis.shape[-2], dtype=normal.dtype, device=normal.device)
    solution, _ = torch.linalg.solve_ex(normal + ridge, moments)
    return normal + ridge, solution


class _Explained(torch.autograd.Function):
    """Sum over K of m_k theta_k^T P, models fitted with squared residuals weighted by m^2.

    An image at a time takes less memory, and less time where that stays in a cache.
    """

    @staticmethod
    def forward(ctx, masks: Tensor, flow: Tensor, basis: Tensor) -> Tensor:
        explained, fits, rows = torch.empty_like(flow), [], basis.to(masks.dtype)
        for mask, target, out in zip(masks, flow, explained, strict=True):
            weights, target = _upsample(mask, flow.shape[-2:]), target.flatten(1)
            fits.append(_fit(weights.square(), target, basis))
            models = fits[-1][1].mT.to(masks.dtype) @ rows  # (K, 2, HW)
            out.copy_(models.mul_(weights[:, None]).sum(0).view_as(out))
        ctx.save_for_backward(masks, flow, rows, *chain(*fits))
        return explained

    @staticmethod
    def backward(ctx, gradient: Tensor):
        masks, flow, rows, *fits = ctx.saved_tensors
        result = torch.empty_like(masks)
        images = zip(masks, flow, gradient, fits[::2], fits[1::2], result, strict=True)
        for *image, out in images:
            _explain_backward(*image, rows, out)
        return result, None, None


def _explain_backward(mask, flow, gradient, normal, theta, rows, out) -> None:
    """Turn a gradient (2, H, W) by what is explained into one by the mask, written into `out`.

    Both sides of P diag(m^2) P^T theta = P diag(m^2) F^T depend on m: with the solution l of the
    same equations for the gradient by theta, that by m_n is 2 m_n l^T p_n (f_n - theta^T p_n)^T
    through the fit, and theta^T p_n times the given gradient beside it.
    """
    with torch.enable_grad():
        mask = mask.detach().requires_grad_()
        upsampled = _upsample(mask, flow.shape[-2:])  # (K, HW)
    weights, flow, gradient = upsampled.detach(), flow.flatten(1), gradient.flatten(1)
    by_theta = (gradient * weights[:, None]) @ rows.mT  # (K, 2, P)
    adjoint, _ = torch.linalg.solve_ex(normal, by_theta.double().mT)  # (K, P, 2)
    theta, adjoint = theta.to(weights.dtype), adjoint.to(weights.dtype)
    through_fit, by_weights = torch.zeros_like(weights), torch.zeros_like(weights)
    for direction in range(2):
        models = theta[..., direction] @ rows  # (K, HW)
        by_weights.addcmul_(models, gradient[direction])
        residuals = torch.sub(flow[direction], models, out=models)
        through_fit.addcmul_(residuals, adjoint[..., direction] @ rows)
    by_weights.addcmul_(through_fit, weights, value=2)
    out.copy_(*torch.autograd.grad(upsampled, mask, by_weights))
