"""The loss against NumPy written from the definitions."""

import numpy as np
import pytest
import torch

from vidsal.losses import LossOptions, sam_loss


def made() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 8, 10, generator=random)
    inside = torch.zeros(3, 8, 10, dtype=torch.bool)
    inside[:, 1:7] = True
    density = torch.rand(3, 8, 10, generator=random) * inside
    density = density / density.sum((1, 2), keepdim=True)
    counts = torch.zeros(3, 8, 10)
    counts[0, 3, 4], counts[0, 5, 5], counts[1, 2, 2], counts[2, 6, 9] = 2, 1, 1, 3
    return logits, density, counts, inside


def test_the_loss_is_the_weighted_sum_of_the_definitions() -> None:
    logits, density, counts, inside = made()
    got = sam_loss(logits, density=density, counts=counts, inside=inside)
    for n in range(3):
        part = np.s_[1:7]
        p = np.exp(logits[n].numpy().astype(np.float64)[part])
        p /= p.sum()
        d, f = density[n].numpy().astype(np.float64)[part], counts[n].numpy()[part]
        kl = (d * np.log(d / p)).sum()
        cc = np.corrcoef(p.ravel(), d.ravel())[0, 1]
        nss = (((p - p.mean()) / p.std()) * f).sum() / f.sum()
        assert got[n].item() == pytest.approx(10 * kl - 2 * cc - nss, rel=1e-3)


def test_what_lies_outside_the_picture_does_not_count() -> None:
    logits, density, counts, inside = made()
    changed = torch.where(inside, logits, torch.full_like(logits, 50.0))
    torch.testing.assert_close(
        sam_loss(changed, density=density, counts=counts, inside=inside),
        sam_loss(logits, density=density, counts=counts, inside=inside),
    )


def test_the_true_density_is_better_than_another() -> None:
    logits, density, counts, inside = made()
    only_kl = LossOptions(cc_weight=0, nss_weight=0)
    best = sam_loss((density + 1e-12).log(), density=density, counts=counts, inside=inside, options=only_kl)
    assert best.abs().max() < 1e-4
    assert (sam_loss(logits, density=density, counts=counts, inside=inside, options=only_kl) > 0.1).all()


def test_a_map_without_fixations_counts_nothing_and_gradients_are_finite() -> None:
    logits, density, counts, inside = made()
    density[1], counts[1] = 0, 0
    logits.requires_grad_()
    loss = sam_loss(logits, density=density, counts=counts, inside=inside)
    assert loss[1] == 0
    loss.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and not logits.grad[1].any()
    flat = torch.zeros(3, 8, 10, requires_grad=True)
    sam_loss(flat, density=density, counts=counts, inside=inside).sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()
