"""The flow loss of "Guess What Moves" (BMVC 2022), Eq. 3; in the LRTL paper Eq. 1 and 2."""

import torch
import torch.nn.functional as F
from torch import Tensor


def flow_loss(masks: Tensor, flow: Tensor) -> Tensor:
    """Mean squared residual of the flow explained by a quadratic motion model per segment.

    As in the released code, a segment's model is fitted with rows weighted by its mask (so the
    squared residuals weigh m^2) and the residual is that of the sum of the segments' models.

    Args:
        masks: (B, K, h, w) soft masks that sum to one; upsampled bilinearly to the flow's size.
        flow: (B, 2, H, W) in pixels of a 854 x 480 frame.

    Returns:
        Scalar, squared pixels.
    """
    masks = F.interpolate(masks, flow.shape[-2:], mode="bilinear", align_corners=False)
    weights = masks.flatten(2)  # (B, K, HW)
    target = flow.flatten(2).to(masks.dtype)  # (B, 2, HW)
    basis = quadratic_basis(*flow.shape[-2:], masks)  # (6, HW)
    # Normal equations in float64: P^T W^2 P theta = P^T W^2 F with an orthonormal polynomial basis.
    squared = weights.double().square()
    products = (basis[:, None] * basis[None]).flatten(0, 1)  # (36, HW)
    normal = (squared @ products.T).unflatten(-1, (6, 6))  # (B, K, 6, 6)
    moments = squared[:, :, None] * target.double()[:, None]  # (B, K, 2, HW)
    moments = moments @ basis.T  # (B, K, 2, 6)
    ridge = 1e-9 * torch.eye(6, dtype=normal.dtype, device=normal.device)
    theta = torch.linalg.solve(normal + ridge, moments.transpose(-1, -2))  # (B, K, 6, 2)
    models = theta.transpose(-1, -2).to(masks.dtype) @ basis.to(masks.dtype)  # (B, K, 2, HW)
    explained = (weights[:, :, None] * models).sum(1)  # (B, 2, HW)
    return F.mse_loss(explained, target)


def quadratic_basis(height: int, width: int, like: Tensor) -> Tensor:
    """Orthonormal basis (6, HW) float64 of the polynomials [1, x, y, x^2, xy, y^2] on the grid.

    It spans what the papers' basis of raw monomials spans, so fits and residuals are the same; the
    products of its rows sum to the identity over the frame, so its normal equations are well posed.
    """
    options = {"dtype": torch.float64, "device": like.device}
    y = torch.linspace(-1, 1, height, **options)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, **options)[None].expand(height, width)
    monomials = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y]).flatten(1)
    orthonormal, _ = torch.linalg.qr(monomials.T)  # (HW, 6)
    return orthonormal.T * (height * width) ** 0.5
