"""The losses against NumPy written from the definitions, closed forms and worked examples."""

import typing

import numpy as np
import pytest
import torch

from vidsal.errors import ConfigError
from vidsal.losses import LossName, LossOptions, map_loss, sam_loss


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


# The other losses: the reference's golden vector, worked out by hand, and what every divergence has to hold.

GOLDEN = {
    "chi-square": (1.8806055, (0.444947, 0.689010, 1.175504, -2.309460)),
    "total-variation": (0.3358525, (0.011186, 0.018442, 0.030405, -0.060033)),
    "cosine": (0.2418371, (0.012985, 0.003762, 0.054252, -0.070999)),
    "bhattacharyya": (0.0952868, (0.014560, 0.011865, 0.029601, -0.056026)),
    "kl": (0.4667130, (0.074371, 0.087490, 0.173991, -0.335852)),
}
DIVERGENCES = (*GOLDEN, "euclidean", "huber", "ml-net")
OTHERS: tuple[LossName, ...] = tuple(name for name in typing.get_args(LossName) if name != "sam")


def loss_of(name: str, x: torch.Tensor, g: torch.Tensor, **options: float) -> torch.Tensor:
    """Over maps all of whose cells show the picture, (N, h, w)."""
    inside = torch.ones_like(g, dtype=torch.bool)
    return map_loss(x, density=g, counts=g, inside=inside, options=LossOptions(loss_name=name, **options))  # type: ignore[arg-type]


def gradient_of(name: str, x: torch.Tensor, g: torch.Tensor, **options: float) -> torch.Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(name, x, g, **options).sum(), x)
    return gradient


def drawn(*, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 4, generator=random, dtype=torch.float64)
    g = torch.rand(2, 3, 4, generator=random, dtype=torch.float64)
    return x, g / g.sum((1, 2), keepdim=True)


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_and_gradients_are_those_of_the_worked_example(name: str) -> None:
    x = torch.tensor([[[0, 0.5, 1, -1]]], dtype=torch.float64)
    g = torch.tensor([[[0.1, 0.2, 0.3, 0.4]]], dtype=torch.float64)
    loss, gradient = GOLDEN[name]
    assert loss_of(name, x, g).item() == pytest.approx(loss, abs=1e-6)
    assert gradient_of(name, x, g).flatten().tolist() == pytest.approx(gradient, abs=2e-6)


def heights_gradient(p: torch.Tensor, by_height: torch.Tensor) -> torch.Tensor:
    """Through the softmax: p_i (h_i - sum of p_j h_j), h = n times the derivative by the height."""
    h = by_height * p.numel()
    return p * (h - (p * h).sum())


@pytest.mark.parametrize("name", OTHERS)
def test_gradients_are_those_of_finite_differences_and_of_the_closed_forms(name: str) -> None:
    x, g = drawn()
    assert torch.autograd.gradcheck(lambda x: loss_of(name, x, g, **DELTA.get(name, {})), x.clone().requires_grad_())
    for one, wanted, got in zip(x, g, gradient_of(name, x, g, **DELTA.get(name, {})), strict=True):
        p, n = one.flatten().softmax(0).view_as(one), one.numel()
        sign = (wanted - p).sign()
        norms = p.norm() * wanted.norm()
        cosine = (p * wanted).sum() / norms
        u = wanted / norms - p * cosine / p.square().sum()
        root = (p * wanted).sqrt()
        odds, given = n * p / (1 + n * p), n * wanted / (1 + n * wanted)
        rest = n * (p - wanted)
        lift = wanted / wanted.max()
        peak = torch.zeros_like(p)
        peak.view(-1)[p.argmax()] = 1
        scaled = 2 / n * (p / p.max() - lift) / (1.1 - lift) * (p / p.max())
        closed = {
            "kl": p - wanted,
            "log-likelihood": p - wanted,
            "chi-square": p * (wanted.square() / p).sum() - wanted.square() / p,
            "total-variation": (p * (sign * p).sum() - sign * p) / 2,
            "cosine": p * (p * u).sum() - p * u,
            "bhattacharyya": (p - root / root.sum()) / 2,
            # ln P is the logit: its derivative by x_j is 1 for i = j, less p_j.
            "bce": (odds - given) / n - p * ((odds - given) / n).sum(),
            "euclidean": heights_gradient(p, 2 / n * rest),
            "huber": heights_gradient(p, rest.clamp(-0.5, 0.5) / n),
            "ml-net": scaled - peak * scaled.sum(),
        }
        torch.testing.assert_close(got, closed[name], rtol=1e-8, atol=1e-10)
        assert abs(got.sum()) < 1e-12  # logits have no height


DELTA: dict[str, dict[str, float]] = {"huber": {"huber_delta": 0.5}}


@pytest.mark.parametrize("name", OTHERS)
def test_the_true_density_has_the_least_loss(name: str) -> None:
    x, g = drawn(seed=3)
    best = loss_of(name, g.log(), g)
    if name in DIVERGENCES:
        assert best.abs().max() < 1e-9
    assert gradient_of(name, g.log(), g).abs().max() < 1e-9 or name == "total-variation"
    for scale in (1e-3, 0.1, 1.0):
        assert (loss_of(name, g.log() + scale * x, g) > best).all()


def test_divergences_keep_their_order() -> None:
    for seed in range(20):
        x, g = drawn(seed=seed)
        kl, variation, distance = (loss_of(name, x, g) for name in ("kl", "total-variation", "bhattacharyya"))
        assert (variation.square() <= kl / 2).all()  # Pinsker
        assert (distance <= kl / 2).all()


def test_huber_is_a_parabola_up_to_delta_and_a_line_above() -> None:
    x, g = drawn(seed=5)
    torch.testing.assert_close(loss_of("huber", x, g, huber_delta=1e6), loss_of("euclidean", x, g) / 2)
    rest = g.numel() / 2 * (x.flatten(1).softmax(1).view_as(x) - g).abs()
    small = 1e-4
    line = small * (rest.mean((1, 2)) - small / 2)
    torch.testing.assert_close(loss_of("huber", x, g, huber_delta=small), line, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", OTHERS)
def test_other_losses_leave_out_the_bars_and_maps_nobody_looked_at(name: str) -> None:
    logits, density, counts, inside = made()
    density[1], counts[1] = 0, 0
    options = LossOptions(loss_name=name)

    def loss(x: torch.Tensor, of: slice = slice(None)) -> torch.Tensor:
        rows = np.s_[:, of]
        recorded = {"density": density[rows], "counts": counts[rows], "inside": inside[rows]}
        return map_loss(x[rows], **recorded, options=options)

    given = logits.clone().requires_grad_()
    got = loss(given)
    got.sum().backward()
    assert got[1] == 0 and given.grad is not None and given.grad.isfinite().all()
    assert not given.grad[1].any() and not given.grad[~inside].any() and given.grad[0].any()
    torch.testing.assert_close(got, loss(torch.where(inside, logits, torch.full_like(logits, 50.0))))
    torch.testing.assert_close(got, loss(logits, slice(1, 7)))


@pytest.mark.parametrize("name", OTHERS)
def test_a_large_constant_map_and_a_single_fixation_have_finite_losses_and_gradients(name: str) -> None:
    logits = torch.zeros(1, 240, 320, requires_grad=True)
    density = torch.zeros(1, 240, 320)
    density[0, 100, 200] = 1
    loss = loss_of(name, logits, density)
    loss.sum().backward()
    assert loss.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()
    assert logits.grad[0, 100, 200] < 0 or name == "ml-net"


def test_chance_has_a_log_likelihood_of_zero() -> None:
    _, g = drawn()
    assert loss_of("log-likelihood", torch.zeros_like(g), g).abs().max() < 1e-12


def test_constants_of_another_loss_are_refused() -> None:
    with pytest.raises(ConfigError, match="cc_weight is of the loss 'sam', but the loss is 'kl'"):
        LossOptions(loss_name="kl", cc_weight=0.0)
    with pytest.raises(ConfigError, match="huber_delta"):
        LossOptions(huber_delta=2.0)
    with pytest.raises(ConfigError, match="loss_name"):
        LossOptions(loss_name="mse")  # type: ignore[arg-type]
