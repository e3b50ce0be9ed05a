"""Several models in, one out whose densities are the mean of theirs, each with an input and a state of its own."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
import torch.nn.functional as F

from vidsal.errors import ConfigError, Setting
from vidsal.model.checkpoint import ModelCard, SaliencyModel, for_task, load_model
from vidsal.model.options import Mean, Precision, Quality, Runtime, Task
from vidsal.model.sam import SaliencyAttentiveModel
from vidsal.model.state import VideoState
from vidsal.preprocess import Preprocessor

__all__ = ["Ensemble", "EnsembleConfig", "EnsembleState", "Member", "enlarged", "load_ensemble", "make_ensemble"]

_LARGER = 1.2
"""How many times as large the canvas of the second view is; see docs/how-to/ensembles.md for what others bring."""


@dataclass(frozen=True, eq=False)
class Member:
    """One model of an ensemble, and how it takes part."""

    model: SaliencyModel
    """The model; members that share one are shown their frames side by side."""
    share: float
    """How much it counts; those of an ensemble add up to 1."""
    mirrored: bool = False
    """Whether it sees every frame mirrored, left to right; its maps are mirrored back."""

    @property
    def facts(self) -> dict[str, Any]:
        """What makes its maps, as plain values."""
        options = self.model.preprocessor.options
        return {
            "name": self.model.card.name,
            "sha256": self.model.sha256,
            "precision": self.model.precision,
            "share": self.share,
            "mirrored": self.mirrored,
            "canvas": [options.height, options.width],
        }


@dataclass(frozen=True)
class EnsembleConfig:
    """What the rest of the package asks of an ensemble's architecture."""

    steps: int
    """The fewest refinement steps of any member on a frame that starts afresh: each can be asked for as many. Each
    takes its own number where none is asked for."""


@dataclass(frozen=True, eq=False, repr=False)
class EnsembleState(VideoState):
    """What the members remember of B videos.

    Example:
        >>> from vidsal.model.state import Memory
        >>> both = EnsembleState((Memory(torch.zeros(2, 4)), Memory(torch.zeros(2, 1))))
        >>> EnsembleState.join([both.row(1), both])
        EnsembleState(Memory(kept=(3, 4)), Memory(kept=(3, 1)))
    """

    members: tuple[VideoState, ...]
    """One state a member, each of B videos."""

    @classmethod
    def join(cls, states: Sequence[Self]) -> Self:
        """See `VideoState.join`."""
        if len(states) < 2:
            return super().join(states)
        rows = zip(*(state.members for state in states), strict=True)
        return cls(tuple(type(row[0]).join(row) for row in rows))

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """See `VideoState.map`."""
        return type(self)(tuple(member.map(function) for member in self.members))

    def __repr__(self) -> str:
        return f"EnsembleState({', '.join(map(repr, self.members))})"


class Ensemble(SaliencyModel):
    """Several models that the pipe runs as one.

    Each member has its own preprocessing, its own state and its own precision. Maps are of the size of the first
    member's: those of the others are brought to its cells over the picture, and the mean is normalised.
    """

    def __init__(self, members: Sequence[Member], *, mean: Mean = "geometric", card: ModelCard) -> None:
        """Put models together.

        Args:
            members: at least one; shares are brought to sum 1.
            mean: "geometric", of the log densities: where one member sees hardly anything, little is left; "linear", of
                the densities: what any member sees stays.
            card: what is said of it.

        Raises:
            ConfigError: there is no member, a share is not above 0, or some predict drivers' gaze and others do not.
        """
        if not members:
            raise ConfigError("an ensemble needs at least one model")
        shares = [member.share for member in members]
        if not all(share > 0 and math.isfinite(share) for share in shares):
            raise ConfigError(Setting("model_shares"), f" must be finite numbers above 0, got {_listed(shares)}")
        tasks = {member.model.task: member.model.card.name for member in reversed(members)}
        if len(tasks) > 1:
            raise ConfigError(
                f"{tasks['driving']} predicts the gaze of drivers and {tasks['free-viewing']} that of people who only "
                "watch: an ensemble must be of one kind"
            )
        self.members = tuple(dataclasses.replace(one, share=one.share / math.fsum(shares)) for one in members)
        self.mean: Mean = mean
        self.card = card
        self.config = EnsembleConfig(min(member.model.config.steps for member in members))
        self.dtype = members[0].model.dtype
        self.device = next((one.model.device for one in members if one.model.device.type != "cpu"), torch.device("cpu"))
        self.preprocessor = _ForAll([member.model.preprocessor for member in members])
        facts = [{**one.facts, "precision": ""} for one in self.members]
        self.sha256 = hashlib.sha256(json.dumps([mean, facts], sort_keys=True).encode()).hexdigest()
        """Of the members' sha256, their shares, how each is shown the frames, and the kind of mean."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an ensemble has no {name} of its own, its members do")

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: every member has a canvas of its own.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("an ensemble is shown frames of a video, not of one canvas: use predict or VideoPredictor")

    @property
    def task(self) -> Task:
        """What the viewers do whose gaze all members predict."""
        return self.members[0].model.task

    @property
    def takes_neighbours(self) -> bool:
        """Whether any member has to be shown every frame."""
        return any(member.model.takes_neighbours for member in self.members)

    @property
    def attentive(self) -> NoReturn:
        """Refuse: it is no network.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.card.name} is an ensemble, no network of SAM's family, which this needs")

    @property
    def precision(self) -> str:
        """That of the members, with "+" between where they differ."""
        return "+".join(dict.fromkeys(member.model.precision for member in self.members))

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the members."""
        return tuple(dict.fromkeys(note for member in self.members for note in member.model.notes))

    @property
    def facts(self) -> dict[str, Any]:
        """Mean and members as plain values, which a record holds: with them the same maps can be made again."""
        return {"mean": self.mean, "members": [member.facts for member in self.members]}

    def combined(self, log_densities: Sequence[torch.Tensor]) -> torch.Tensor:
        """The mean of the members' maps of the same frames.

        Args:
            log_densities: one tensor a member, (..., h, w) float32 over the picture, in cells of its own; those of
                members that see frames mirrored are mirrored.

        Returns:
            (..., h, w) float32 of the first member's size, on the ensemble's device; `exp` of it sums to 1 over (h, w).
        """
        rows, columns = log_densities[0].shape[-2:]
        shown = zip(self.members, log_densities, strict=True)
        upright = [(one, (found.flip(-1) if one.mirrored else found).to(self.device)) for one, found in shown]
        maps = [(one.share, _in_cells(found, rows, columns)) for one, found in upright]
        if self.mean == "geometric":
            total = torch.stack([share * log_density for share, log_density in maps]).sum(0)
        else:
            total = torch.stack([math.log(share) + log_density for share, log_density in maps]).logsumexp(0)
        return total - total.flatten(-2).logsumexp(-1)[..., None, None]

    def __repr__(self) -> str:
        return f"Ensemble({self.card.name}, {self.device}, {self.precision})"


class _ForAll(Preprocessor):
    """The first member's preprocessing, which asks for frames that are large enough for all members."""

    def __init__(self, members: Sequence[Preprocessor]) -> None:
        super().__init__(members[0].options)
        self._members = tuple(members)

    def frame_size(self, height: int, width: int) -> tuple[int, int]:
        """See `Preprocessor.frame_size`: the largest number of rows and of columns that any member asks for."""
        rows, columns = zip(*(member.frame_size(height, width) for member in self._members), strict=True)
        return max(rows), max(columns)


def load_ensemble(
    models: str | Path | Sequence[str | Path],
    *,
    task: Task = "free-viewing",
    device: str = "auto",
    precision: Precision = "auto",
    runtime: Runtime = "torch",
    shares: Sequence[float] = (),
    mean: Mean = "geometric",
    quality: Quality = "standard",
) -> SaliencyModel:
    """Load several models as one, whose densities are the mean of theirs.

    Args:
        models: names or paths, each as `load_model` takes one; a single one of standard quality is loaded as it is.
        task: as of `load_model`, for each of them.
        device: as of `load_model`.
        precision: as of `load_model`; with "auto" each has its own.
        runtime: as of `load_model`.
        shares: how much each counts, as many numbers above 0; none: all alike.
        mean: "geometric", that of the log densities, or "linear", that of the densities.
        quality: "high" shows every model each frame a second time and takes the mean of both maps, see
            `make_ensemble`.

    Raises:
        CheckpointError: as `load_model`.
        ConfigError: as `load_model`; or no model is named, or one twice, there are more or fewer shares, or some
            models predict drivers' gaze and others do not.

    Example:
        >>> load_ensemble(["sam-lite", "centre-prior"], device="cpu", precision="fp32", shares=[0.9, 0.1])
        Ensemble(sam-lite + centre-prior, cpu, fp32)
    """
    named = [models] if isinstance(models, (str, Path)) else list(models)
    chosen = [for_task(one, task) for one in named]
    if not chosen:
        raise ConfigError("an ensemble needs at least one model")
    for place, one in enumerate(chosen):
        if str(one) in map(str, chosen[:place]):
            raise ConfigError(f"the model {str(one)!r} is named twice")
    loaded = [load_model(one, device=device, precision=precision, runtime=runtime) for one in chosen]
    return make_ensemble(loaded, shares=shares, mean=mean, quality=quality)


def make_ensemble(
    models: Sequence[SaliencyModel],
    *,
    shares: Sequence[float] = (),
    mean: Mean = "geometric",
    quality: Quality = "standard",
) -> SaliencyModel:
    """Models that are loaded, as one; a single one of standard quality is returned as it is.

    Args:
        models: at least one.
        shares: how much each counts, as many numbers above 0; none: all alike.
        mean: see `Ensemble`.
        quality: "high" shows every model each frame a second time, mirrored and on a canvas 1.2 times as large, from a
            state of its own, and takes the mean of both maps. The canvas stays as it is for models whose authors fix
            it: the published networks and those without weights.

    Raises:
        ConfigError: see `Ensemble`; or there are as many shares as models, no more and no fewer.
    """
    if shares and len(shares) != len(models):
        raise ConfigError(
            Setting("model_shares"), f" must be a number for each of {len(models)} models, got {_listed(shares)}"
        )
    if len(models) == 1 and quality == "standard":
        return models[0]
    members = []
    for model, share in zip(models, shares or [1.0] * len(models), strict=True):
        members.append(Member(model, share))
        if quality == "high":
            second = enlarged(model, _LARGER) if _takes_any_canvas(model) else model
            members.append(Member(second, share, mirrored=True))
    name = " + ".join(model.card.name for model in models)
    name = name if quality == "standard" else f"{quality}-quality {name}"
    card = ModelCard(
        name=name,
        description=f"The {mean} mean of the maps of {', '.join(model.card.name for model in models)}.",
        licence="; ".join(dict.fromkeys(model.card.licence for model in models if model.card.licence)),
        training_data=tuple(dict.fromkeys(text for model in models for text in model.card.training_data)),
        limits=tuple(dict.fromkeys(text for model in models for text in model.card.limits)),
    )
    return Ensemble(members, mean=mean, card=card)


def enlarged(model: SaliencyModel, factor: float) -> SaliencyModel:
    """The same network, its weights shared, before a canvas that is so many times as large.

    Args:
        model: one of SAM's family.
        factor: of both sides, which become multiples of the network's stride.
    """
    other, options = copy.copy(model), model.preprocessor.options
    stride = model.attentive.backbone.stride
    height, width = (max(1, round(side * factor / stride)) * stride for side in (options.height, options.width))
    other.preprocessor = Preprocessor(dataclasses.replace(options, height=height, width=width))
    return other


def _takes_any_canvas(model: SaliencyModel) -> bool:
    """Whether a network was trained here, on pictures of several sizes, and not by others on one canvas."""
    network = model.network
    return isinstance(network, SaliencyAttentiveModel) and network.config.head != "published"


def _in_cells(log_density: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A map over the same picture in other cells, normalised; itself where it has these."""
    if log_density.shape[-2:] == (rows, columns):
        return log_density
    down = _cells_matrix(log_density.shape[-2], rows, log_density.device)
    across = _cells_matrix(log_density.shape[-1], columns, log_density.device)
    maps = (down @ log_density.exp() @ across.T).clamp_min(torch.finfo(torch.float32).tiny).log()
    return maps - maps.flatten(-2).logsumexp(-1)[..., None, None]


@lru_cache(maxsize=32)
def _cells_matrix(before: int, after: int, device: torch.device) -> torch.Tensor:
    """(after, before) float32: each new cell takes the mean of what it covers, or lies between old cells.

    A matrix, as not every device can interpolate like this.
    """
    # Not an inference tensor, wherever it is made first: it is shared.
    with torch.inference_mode(False):
        alone = torch.eye(before)[None, None]
        matrix = F.interpolate(alone, size=(after, before), mode="bilinear", align_corners=False, antialias=True)[0, 0]
        return matrix.to(device)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
