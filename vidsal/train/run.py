"""The clips of a step in, better weights out; the state that a killed run goes on from, the log, the checkpoint."""

from __future__ import annotations

import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidsal.data.clips import Clip
from vidsal.data.recorded import RecordedClip
from vidsal.errors import CheckpointError, ConfigError
from vidsal.files import replacing
from vidsal.losses import sam_loss
from vidsal.model.checkpoint import ModelCard, SaliencyModel
from vidsal.model.sam import SAMState, Unroll
from vidsal.preprocess import Preprocessor
from vidsal.train.card import DTYPES, write_checkpoint
from vidsal.train.options import TrainConfig, saved_state
from vidsal.train.plan import Step
from vidsal.train.samples import OpenData, stack_arrays
from vidsal.train.score import validate
from vidsal.train.start import UNREADABLE, first_network, make_optimizer, parameter_groups, rate_share
from vidsal.train.state import Best, comparable, finite, same_run

__all__ = ["TrainingRun"]


def _begins(clip: Clip) -> bool:
    """Nothing was seen before its first frame."""
    return not isinstance(clip, RecordedClip) or clip.begins


class TrainingRun:
    """The moving parts of a run: network, averaged network, optimiser, step."""

    def __init__(self, config: TrainConfig, device: torch.device, steps: int) -> None:
        torch.manual_seed(config.seed)
        network, self.preprocess, self.notes, self.learnt = first_network(config)
        self.config, self.device, self.steps = config, device, steps
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Without averaging the network itself is what counts: a copy of SAM-ResNet would be 280 MB more.
        averages = config.schedule.average_decay > 0
        self.average = copy.deepcopy(self.network).requires_grad_(False) if averages else self.network
        self.preprocessor = Preprocessor(self.preprocess)
        groups = parameter_groups(network, config.schedule)
        self.peaks = [group["lr"] for group in groups]
        self.optimizer = make_optimizer(groups, config.schedule)
        self.best: Best | None = None
        self.passes_since_best = 0
        self.carried: SAMState | None = None
        self.running: float | None = None
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.step = 0
        self.state_path = saved_state(config.output)
        self.log_path = config.output / "log.jsonl"

    def train_step(self, step: Step, clips: list[Clip]) -> float:
        """One step of the optimiser; returns the mean loss of its frames."""
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * rate_share(self.step, self.steps, self.config.schedule)
        self.network.train()
        if self.config.freeze_backbone_statistics:
            backbone = self.network.backbone
            for name, module in backbone.named_modules():
                # The statistics of new layers have to be learned.
                if isinstance(module, torch.nn.BatchNorm2d) and not backbone.is_new(name):
                    module.eval()
        torch.manual_seed(step.seed)  # dropout
        frames, density, counts, inside = self._tensors(clips, step)
        precision, mixed = self.config.precision, self.config.precision != "fp32"
        with torch.autocast(self.device.type, DTYPES[precision] if mixed else torch.bfloat16, enabled=mixed):
            log_density, state = self.network(
                frames,
                self.carried if step.window is not None and step.window.number > 0 else None,
                unroll=Unroll.of(
                    self._fresh(clips, step),
                    fresh_steps=self.network.config.steps,
                    lengths=[clip.length if isinstance(clip, RecordedClip) else step.times for clip in clips],
                ),
            )
        if step.window is not None:
            # Values go on to the next window, gradients do not come back from it.
            self.carried = state.detach()
        losses = sam_loss(
            log_density.flatten(0, 1),
            density=density.flatten(0, 1),
            counts=counts.flatten(0, 1),
            inside=inside.flatten(0, 1),
            options=self.config.loss,
        )
        if step.window is None:
            loss = losses.mean()
        else:
            loss = losses.sum() / (counts.flatten(2).sum(2) > 0).sum().clamp_min(1)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.config.schedule.clip_gradient_norm > 0:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.schedule.clip_gradient_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    def _fresh(self, clips: list[Clip], step: Step) -> list[list[bool]]:
        """Which frames start from zero: the first of a clip that begins, and those after a cut that is not missed."""
        random = np.random.default_rng([step.seed, 2**21])
        missed = random.random((len(clips), step.times)) < self.config.schedule.undetected_cut_probability
        return [
            [(t == 0 and _begins(clip)) or bool(clip.cut[t] and not missed[row, t]) for t in range(step.times)]
            for row, clip in enumerate(clips)
        ]

    def _tensors(self, clips: list[Clip], step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        frames, density, counts, inside = stack_arrays(clips)
        random = np.random.default_rng([step.seed, 2**20])
        swapped = random.random(len(clips)) < self.config.schedule.undetected_cut_probability
        if step.times > 1 and len(clips) > 1 and all(map(_begins, clips)):
            # The first frame is another picture's, the state is carried over all the same: a missed cut.
            source = np.where(swapped, (np.arange(len(clips)) + 1) % len(clips), np.arange(len(clips)))
            for array in (frames, density, counts, inside):
                array[:, 0] = array[source, 0]
        batch = self.preprocessor(frames.reshape(-1, *frames.shape[2:]), device=self.device)
        tensors = [torch.from_numpy(array).to(self.device) for array in (density, counts, inside)]
        return batch.reshape(len(clips), step.times, *batch.shape[1:]), tensors[0], tensors[1], tensors[2]

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is self.network:
            return
        # Early on the average follows closely, so that it does not remember the random start.
        decay = min(self.config.schedule.average_decay, (1 + self.step) / (10 + self.step))
        own = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(own[name], 1 - decay)
            else:
                value.copy_(own[name])

    def inference_model(self) -> SaliencyModel:
        """The averaged network, ready to score."""
        network = copy.deepcopy(self.average)
        card = ModelCard(name=self.config.card.name)
        return SaliencyModel(network, preprocess=self.preprocess, card=card, device=self.device)

    def end_pass(self, pass_index: int, loss: float, data: OpenData) -> dict[str, dict[str, float]]:
        """Score, log, and remember the weights where their validation loss is the lowest so far."""
        held_out = validate(self.inference_model(), data, self.config, pictures=self.config.validation_pictures)
        entry: dict[str, Any] = {"pass": pass_index + 1, "step": self.step, "loss": loss, "validation": held_out.scores}
        if self.config.schedule.early_stopping_patience is not None:
            entry["validation_loss"] = held_out.loss
            if math.isfinite(held_out.loss) and (self.best is None or held_out.loss < self.best.loss):
                weights = {name: value.to("cpu", copy=True) for name, value in self.average.state_dict().items()}
                self.best, self.passes_since_best = Best(held_out.loss, pass_index + 1, weights), 0
            else:
                self.passes_since_best += 1
        self.log(entry)
        return held_out.scores

    @property
    def out_of_patience(self) -> bool:
        """True once so many passes in a row brought nothing that the run ends."""
        patience = self.config.schedule.early_stopping_patience
        return patience is not None and self.passes_since_best >= patience

    def patience_notes(self) -> tuple[str, ...]:
        """What a run that ends early says."""
        if not self.out_of_patience:
            return ()
        passes = "1 pass" if self.passes_since_best == 1 else f"{self.passes_since_best} passes"
        kept = "none was finite" if self.best is None else f"the weights of pass {self.best.pass_number} are kept"
        return (f"Ended early: no lower validation loss in {passes}; {kept}.",)

    def take_best(self) -> None:
        """Go back to the weights with the lowest validation loss, where they were kept."""
        if self.best is not None:
            self.average.load_state_dict(self.best.weights)

    def save(self) -> None:
        """Write all that a resumed run needs, whole or not at all.

        Raises:
            EncodeError: it cannot be written.
        """
        state = {
            "config": comparable(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": None if self.average is self.network else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": None if self.best is None else vars(self.best),
            "passes_since_best": self.passes_since_best,
            "carried": None if self.carried is None else vars(self.carried),
            "running": self.running,
        }
        # An open file: of a path that cannot be written, torch does not say why.
        with replacing(self.state_path, also=(RuntimeError,), durable=True) as partial, partial.open("wb") as file:
            torch.save(state, file)

    def resume(self) -> None:
        """Take over a saved state of the same configuration, if there is one, and cut the log back to it."""
        if self.state_path.exists():
            try:
                saved = torch.load(self.state_path, map_location=self.device, weights_only=True)
            except UNREADABLE as error:
                raise CheckpointError(f"{self.state_path}: cannot be resumed from ({error}); delete it") from error
            if not same_run(json.loads(saved["config"]), self.config):
                raise ConfigError(
                    f"{self.state_path} belongs to a run with another configuration; "
                    "choose another output folder or delete it"
                )
            self.network.load_state_dict(saved["network"])
            if self.average is not self.network:
                self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scaler.load_state_dict(saved["scaler"])
            self.step = saved["step"]
            if saved.get("best") is not None:
                weights = {name: value.cpu() for name, value in saved["best"]["weights"].items()}
                self.best = Best(**(saved["best"] | {"weights": weights}))
            self.passes_since_best = saved.get("passes_since_best", 0)
            self.running = saved.get("running")
            if saved.get("carried") is not None:
                self.carried = SAMState(**saved["carried"])
        lines = self.log_path.read_text().splitlines() if self.log_path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        with replacing(self.log_path) as partial:
            partial.write_text("".join(line + "\n" for line in kept))

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to the log; what is not finite, such as a score that does not exist, is null there."""
        with self.log_path.open("a") as stream:
            line = {**finite(entry), "time": time.strftime("%Y-%m-%dT%H:%M:%S")}
            stream.write(json.dumps(line, allow_nan=False) + "\n")

    def finish(self, scores: dict[str, dict[str, float]]) -> Path:
        """Write the averaged network as a checkpoint with its card; see `write_checkpoint`."""
        return write_checkpoint(
            self.config,
            self.average,
            preprocess=self.preprocess,
            notes=self.notes,
            learnt=self.learnt,
            best=self.best,
            scores=scores,
        )
