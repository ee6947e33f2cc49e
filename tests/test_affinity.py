"""Affinity of components by DINO's keys: the papers' equation by hand, and its limits."""

import numpy as np
import torch
import torch.nn.functional as F

from lrtl.affinity import appearance_affinity, departure


def random_masks(frames: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(frames, count, 12, 20, generator=generator)).softmax(1)


def random_keys(frames: int) -> torch.Tensor:
    return torch.randn(frames, 8, 5, 9, generator=torch.Generator().manual_seed(1))


def test_affinity_by_definition():
    masks, keys = random_masks(2, 3), random_keys(2)
    affinity = appearance_affinity(masks, keys, 1e-12)
    large = F.interpolate(keys, (12, 20), mode="bilinear").double().numpy()
    for t in range(2):
        means = [
            sum(m[y, x] * large[t, :, y, x] for y in range(12) for x in range(20)) / m.sum()
            for m in masks[t].double().numpy()
        ]
        for i, a in enumerate(means):
            for j, b in enumerate(means):
                cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                assert abs(affinity[t, i, j].item() - max(1e-12, cosine)) < 1e-5


def test_opposite_keys_have_the_floor():
    masks = torch.zeros(1, 3, 4, 4)
    masks[:, 0, :, :2] = masks[:, 1, :, 2:] = 1  # the third component has no mass
    keys = torch.ones(1, 2, 4, 4)
    keys[..., 2:] = -1
    for floor in (1e-12, 1e-6):
        affinity = appearance_affinity(masks, keys, floor)[0]
        expected = torch.full((3, 3), floor)
        expected[0, 0] = expected[1, 1] = 1
        torch.testing.assert_close(affinity, expected)


def test_components_of_the_same_keys_are_alike():
    masks, keys = random_masks(1, 4), torch.ones(1, 8, 5, 9)
    torch.testing.assert_close(appearance_affinity(masks, keys, 1e-12), torch.ones(1, 4, 4))


def test_mass_and_order_of_components_do_not_matter():
    masks, keys = random_masks(2, 4), random_keys(2)
    affinity, order = appearance_affinity(masks, keys, 1e-12), [2, 0, 3, 1]
    changed = appearance_affinity(1e-3 * masks[:, order], 5 * keys, 1e-12)
    torch.testing.assert_close(changed, affinity[:, order][:, :, order], atol=1e-6, rtol=1e-5)


def test_departure_is_the_foregrounds_own_motion():
    """Against a background in quadratic motion; the foreground's model is not asked for."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 30), torch.linspace(-1, 1, 50), indexing="ij")
    background = torch.stack([3 + 2 * x - y * y, 0.5 * x * y - 1])
    inside = (x.square() + y.square() < 0.2).float()
    own = torch.tensor([3.0, -4.0])[:, None, None]
    flow = torch.stack([background, background + own * inside, background + 0.1 * own * inside])
    found = departure(inside.expand(3, -1, -1), flow)
    torch.testing.assert_close(found, torch.tensor([0.0, 5.0, 0.5]), atol=1e-3, rtol=1e-4)
