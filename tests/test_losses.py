"""The loss against NumPy written from the definitions."""

import numpy as np
import pytest
import torch

from vidsal.errors import ConfigError
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


def test_with_keras_epsilon_the_loss_is_the_authors_on_the_same_grid() -> None:
    """Their three functions in NumPy, from the description: P over its maximum first, e = 1e-7, no letter-box."""
    random, e = np.random.default_rng(5), 1e-7
    options = LossOptions(kl_epsilon=e)
    for _ in range(4):
        # Cells down to nothing, where e decides.
        raw = random.random((48, 64)) ** random.integers(1, 30)
        recorded = random.random((48, 64)) ** 4
        fixated = random.random((48, 64)) < 0.01
        p = raw / raw.max()
        z = (p - p.mean()) / (p.std() + e)
        nss = (fixated * z).sum() / fixated.sum()
        p, d = p / (p.sum() + e), recorded / (recorded.sum() + e)
        n = p.size
        kl = (d * np.log(d / (p + e) + e)).sum()
        cc = ((d * p).sum() - d.sum() * p.sum() / n) / np.sqrt(
            ((d**2).sum() - d.sum() ** 2 / n) * ((p**2).sum() - p.sum() ** 2 / n)
        )
        tensors = [torch.from_numpy(array)[None].float() for array in (recorded / recorded.sum(), fixated)]
        given = {"density": tensors[0], "counts": tensors[1], "inside": torch.ones(1, 48, 64, dtype=torch.bool)}
        log_density = torch.from_numpy(np.log(raw / raw.sum()))[None].float()
        got = sam_loss(log_density, **given, options=options).item()
        assert got == pytest.approx(10 * kl - 2 * cc - nss, rel=1e-4)
        # The judge tells the divergence the other way round and a missing epsilon apart.
        swapped = (p * np.log(p / (d + e) + e)).sum()
        assert got != pytest.approx(10 * swapped - 2 * cc - nss, rel=1e-2)
        if raw.min() < 1e-9:
            assert got != pytest.approx(sam_loss(log_density, **given).item(), rel=1e-4)


def test_the_loss_does_not_depend_on_how_many_cells_share_a_density() -> None:
    logits, density, counts, _ = made()
    inside = torch.ones_like(density, dtype=torch.bool)

    def finer(values: torch.Tensor) -> torch.Tensor:
        return values.repeat_interleave(8, 1).repeat_interleave(8, 2)

    coarse = sam_loss(logits * 1e-3, density=density, counts=counts, inside=inside)
    fine = sam_loss(finer(logits * 1e-3), density=finer(density) / 64, counts=finer(counts), inside=finer(inside))
    torch.testing.assert_close(coarse, fine, rtol=1e-3, atol=1e-3)


def test_an_epsilon_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="kl_epsilon"):
        LossOptions(kl_epsilon=-1.0)


@pytest.mark.parametrize("size", [(8, 8), (240, 320)])
@pytest.mark.parametrize("options", [LossOptions(), LossOptions(kl_epsilon=4e-7)])
def test_a_constant_map_scores_as_chance_and_has_a_finite_gradient(size: tuple[int, int], options: LossOptions) -> None:
    # What a published head gives where its ReLU lets nothing through.
    logits = torch.zeros(1, *size, requires_grad=True)
    density = torch.zeros(1, *size)
    density[0, 3, 4] = 1
    inside = torch.ones(1, *size, dtype=torch.bool)
    loss = sam_loss(logits, density=density, counts=density, inside=inside, options=options)
    assert loss.item() == pytest.approx(-10 * np.log(1 / (size[0] * size[1]) + options.kl_epsilon), rel=3e-3)
    loss.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


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
