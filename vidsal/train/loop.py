"""A training configuration in, a trained checkpoint and a log of validation scores out.

What happens at a step is a function of the configuration and the step's number alone (order of the pictures, clip
lengths, augmentation, dropout), so a run that was killed and resumed ends as an unbroken one does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vidsal.data.teacher import load_teacher_set
from vidsal.errors import ConfigError
from vidsal.model.checkpoint import resolve_device
from vidsal.prefetch import prefetch
from vidsal.train.options import TrainConfig, TrainProgress
from vidsal.train.plan import make_plan
from vidsal.train.run import TrainingRun
from vidsal.train.samples import OpenData, open_data, read_samples
from vidsal.train.score import has_validation, validate

__all__ = ["train"]


def train(
    config: TrainConfig,
    *,
    on_progress: Callable[[TrainProgress], None] | None = None,
    stop_after_steps: int | None = None,
) -> Path:
    """Train, or go on with a run that was interrupted, and write the checkpoint.

    A run goes on from `output/state.pt` where it is there; with another configuration that is an error.

    Args:
        config: the run.
        on_progress: called after every step.
        stop_after_steps: save the state and return after so many steps of this call (for tests and time limits).

    Returns:
        The path of the checkpoint, or of the saved state where `stop_after_steps` ended the call early.

    Raises:
        ConfigError: the configuration contradicts itself or the run in `output`.
        DatasetError: a data set is not in its layout.
        CheckpointError: starting weights do not fit, or finished ones do not fit into `weights_dtype`.
    """
    device = resolve_device(config.device)
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigError("precision fp16 needs CUDA; use bf16 or fp32")
    data = open_data(config)
    _check(config, data)
    teacher = None if config.teacher_set is None else load_teacher_set(config.teacher_set)
    counts = [len(one.training) for one in data.videos]
    stretches = () if teacher is None else teacher.sequences
    plan = make_plan(len(data.training_stills), config, stretches, counts)
    unscored = () if has_validation(config, data) else (_NO_VALIDATION,)
    run = TrainingRun(config, device, len(plan))
    _make_folder(config.output)
    run.resume()
    first = run.step
    # A run that had ended early and was killed before it wrote its checkpoint has nothing left to learn.
    left = [] if run.out_of_patience else plan[first:]
    with prefetch(read_samples(left, data, teacher, config, run.preprocess), depth=4) as samples:
        for offset, clips in enumerate(samples):
            step = plan[first + offset]
            loss = run.train_step(step, clips)
            run.running = loss if run.running is None else 0.98 * run.running + 0.02 * loss
            last_of_pass = run.step == len(plan) or plan[run.step].pass_index != step.pass_index
            scores = run.end_pass(step.pass_index, run.running, data) if last_of_pass else None
            if on_progress:
                on_progress(
                    TrainProgress(
                        step=run.step,
                        steps=len(plan),
                        pass_number=step.pass_index + 1,
                        passes=config.schedule.passes,
                        loss=run.running,
                        scores=scores,
                        notes=(*((*run.notes, *unscored) if offset == 0 else ()), *run.patience_notes()),
                    )
                )
            stopping = stop_after_steps is not None and offset + 1 >= stop_after_steps
            if last_of_pass or stopping or run.step % config.checkpoint_every_steps == 0:
                run.save()
            if run.out_of_patience:
                break
            if stopping and run.step < len(plan):
                return run.state_path
    run.take_best()
    return run.finish(validate(run.inference_model(), data, config, pictures=None).scores)


def _check(config: TrainConfig, data: OpenData) -> None:
    """Options that contradict each other."""
    schedule = config.schedule
    if config.add_motion_channels and config.start_from is None:
        raise ConfigError("add_motion_channels goes with start_from; a new network has model.motion_channels")
    if config.start_from is not None and config.imagenet_weights is not None:
        raise ConfigError("start_from and imagenet_weights both say where to begin: leave one of them out")
    if schedule.optimizer == "rmsprop" and schedule.weight_decay != 0:
        raise ConfigError(f"rmsprop has no weight decay: set weight_decay to 0, got {schedule.weight_decay}")
    if schedule.early_stopping_patience is not None and not has_validation(config, data):
        raise ConfigError("early_stopping_patience needs validation pictures; there are none")


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"output {output} is, or lies in, a file; name a folder") from error
    except OSError as error:
        raise ConfigError(f"the folder {output} cannot be made: {error.strerror}; choose another output") from error


_NO_VALIDATION = (
    "There is nothing to validate on, so no pass is scored: stills need more pictures and validation_pictures other "
    "than 0, videos at least two clips or a validation_split."
)
