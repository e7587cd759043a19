"""Trains an experiment: devices, data, model, and a run folder that the same call resumes.

A checkpoint holds the step, both optimisers, the moving average, and every network with its
spectral vectors. Stage and place in the data follow from the step (see `pgi.training.stages` and
`pgi.training.pipeline`), so a resumed run computes what an uninterrupted one would have computed,
to the bit on a CPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from pathlib import Path
from signal import Signals

import tensorflow as tf
from tensorflow import keras

from pgi.config import ExperimentConfig, to_dict
from pgi.errors import Interrupted, RunFolderError
from pgi.models import PyramidGenerator
from pgi.training import (
    assembly,
    callbacks,
    checkpoints,
    devices,
    examples,
    initial_weights,
    pipeline,
    stopping,
)
from pgi.training.checkpoints import Checkpoints
from pgi.training.interruption import Interruption
from pgi.training.reading import ImageSource
from pgi.training.run_folder import Checkpoint, RunFolder, checkpoints_in
from pgi.training.snapshot import Snapshot
from pgi.training.stages import Stage, stages
from pgi.training.stopping import Agreement
from pgi.training.workers import Workers

# Rows of a sample picture.
_PICTURES = 4
# A reason to stop that is no signal.
_TIME_OVER = -1
_SHARED = "the run folder must be on a file system that all workers share"


def train(
    config: ExperimentConfig,
    train_source: ImageSource,
    validation_source: ImageSource,
    workdir: str | Path,
    strategy: tf.distribute.Strategy | None = None,
    licence: str | None = None,
) -> dict[str, float]:
    """Trains until the config's steps or minutes are over; resumes a run that the folder holds.

    Args:
        config: of the experiment.
        train_source: photographs to learn from.
        validation_source: photographs held out.
        workdir: the run folder, new or of the same config.
        strategy: the devices; None for `devices.local`. With several workers, each calls this
            function with the same arguments.
        licence: of the images, for the model card.

    Returns:
        The last snapshot's metrics: `step`, `train/...` and `validation/...`. Empty if the time
        was over before the first snapshot. A time limit ends between two steps and saves the step.

    Raises:
        RuleError: a batch cannot be split evenly over the replicas, or the initial weights do not
            fit.
        RunFolderError: the folder belongs to another run or is in use, or its checkpoints are lost
            or damaged.
        Interrupted: SIGINT, SIGTERM or SIGUSR1 came, to this or another worker, and the step at
            which all stopped is saved. Only the main thread of a program notices these signals; a
            second one ends the process.
        WorkersError: workers have different configs or images, or another one cannot go on.
        LostWorkerError: another worker is gone.
        WriteError: the disk is full or read-only; the last checkpoint is kept.
        NonFiniteLossError: a loss diverged; the last good checkpoint is kept.
    """
    strategy = strategy or devices.local(config)
    workers, run = Workers(strategy), RunFolder(workdir)
    sources = {"train": train_source, "validation": validation_source}
    with workers.watched(), contextlib.ExitStack() as held:
        with workers.sharing_errors():
            images = {x: [len(s), s.identity()] for x, s in sources.items()}
        workers.agree("another config", to_dict(config))
        workers.agree("other images", images)
        with strategy.scope():
            model = assembly.make_model(config)
        training = _Training(config, train_source, validation_source, strategy, workers, model, run)
        # The chief's view, since all workers must come to the same agreements.
        started = workers.chiefs(len(checkpoints_in(run.checkpoints)))
        if config.train.initial_weights and not started:
            with workers.sharing_errors():
                workers.say(initial_weights.load(model, config.train.initial_weights))
        with workers.sharing_errors():
            if workers.chief:
                held.enter_context(run.locked())
                training.newest = run.checkpoint_to_continue()
                if training.done():
                    run.refuse_other(config, images)
                else:
                    run.begin(config, images, licence)
        training.newest = _newest_of_all(training)
        if training.done():
            workers.say(f"All {config.train.steps:,} steps are done")
        else:
            _continue(training)
        with workers.sharing_errors():
            if workers.chief:
                run.forget_divergence()
        return (run.read_metrics() or [{}])[-1]


@dataclasses.dataclass
class _Training:
    """What belongs to one call of `train`."""

    config: ExperimentConfig
    train_source: ImageSource
    validation_source: ImageSource
    strategy: tf.distribute.Strategy
    workers: Workers
    model: PyramidGenerator
    run: RunFolder
    newest: Checkpoint | None = None

    def done(self) -> bool:
        """Whether the checkpoint to continue is that of the last step."""
        return self.newest is not None and (self.newest.step or 0) >= self.config.train.steps


def _newest_of_all(training: _Training) -> Checkpoint | None:
    """The checkpoint that the chief found, for every worker."""
    workers, newest = training.workers, training.newest
    step = workers.chiefs((newest.step or 0) if newest else -1)
    if step < 0:
        return None
    newest = Checkpoint(training.run.checkpoints / f"step-{step}")
    with workers.sharing_errors():
        if not newest.files:
            raise RunFolderError(f"{newest} is not there; {_SHARED}")
    return newest


def _continue(training: _Training) -> None:
    """Trains from the newest checkpoint, if there is one, until the end, a signal or the limit."""
    workers, run, model = training.workers, training.run, training.model
    if training.newest:
        with workers.sharing_errors():
            checkpoints.restore(checkpoints.networks(model), training.newest)
        workers.say(f"Continues at step {model.step:,}")
    workers.agree(f"another step in its checkpoint ({_SHARED})", model.step)
    with workers.sharing_errors():
        if workers.chief:
            run.forget_after(model.step)
    minutes = training.config.train.minutes
    end = time.monotonic() + 60 * (minutes or math.inf)
    with Interruption() as interruption:

        def reason() -> int:
            return interruption.signal or (_TIME_OVER if time.monotonic() >= end else 0)

        agreement = Agreement(workers, reason)
        _train_stages(training, agreement, end)
    if model.step < training.config.train.steps:
        assert agreement.found
        _report_stop(training, *agreement.found)


def _train_stages(training: _Training, agreement: Agreement, end: float) -> None:
    """Trains all stages that are not done yet, or until the workers agree to stop."""
    config, strategy, workers = training.config, training.strategy, training.workers
    model, run, newest = training.model, training.run, training.newest
    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, config.train.seed)
    with workers.sharing_errors():
        held_out = examples.validation_examples(config, training.validation_source)
    validation, validation_steps = examples.validation_batches(held_out, strategy)
    pictures = tf.nest.map_structure(lambda x: x[:_PICTURES], held_out)
    means = callbacks.ContinueMeans(checkpoints.running_means(newest) if newest else None)
    alone = workers.count == 1
    watch = stopping.StopOnNonFinite(run, None if alone else lambda: agreement.due)
    saved = Checkpoints(run, model, config.train)
    of_chief: list[keras.callbacks.Callback] = [callbacks.WarnOfGrowth(run)] * workers.chief
    snapshot = Snapshot(workers, run, saved, pictures)
    stop = stopping.StopWhenAgreed(agreement, watch, saved)
    interval = config.train.snapshot_steps
    for stage in stages(config):
        compiled = False
        while stage.first_step <= model.step < stage.last_step and not agreement.agree():
            feed = examples.feed(
                functools.partial(
                    examples.training_crops,
                    *(config, training.train_source, stage.batch_size, stage.sample(model.step)),
                ),
                build,
                strategy,
            )
            if not compiled:
                _begin_stage(training, stage, feed.preprocess)
                compiled = True
            # After an interruption, first the rest of its interval between two snapshots.
            rest = -(model.step - stage.first_step) % interval
            until = min(model.step + rest, stage.last_step) if rest else stage.last_step
            seconds = end - time.monotonic()
            bar = callbacks.ProgressBar(model.step, stage.last_step, seconds, _label(config, stage))
            total = stopping.TotalSteps(until)
            shown = [bar] * workers.chief
            try:
                model.fit(
                    feed.dataset,
                    epochs=config.train.steps,
                    steps_per_epoch=interval,
                    validation_data=validation,
                    validation_steps=validation_steps,
                    verbose=0,
                    callbacks=[means, total, agreement, watch, *of_chief, *shown, snapshot, stop],
                )
            except stopping.Stopped:
                return
            finally:
                bar.close()


def _begin_stage(training: _Training, stage: Stage, preprocess: pipeline.Builder | None) -> None:
    """Compiles the model for a stage, and continues the stage's optimisers if it had begun."""
    model, config, newest = training.model, training.config, training.newest
    with training.strategy.scope():
        assembly.compile_model(model, config, stage, preprocess)
    if newest and model.step > stage.first_step:
        with training.workers.sharing_errors():
            checkpoints.restore(checkpoints.optimizers(model, newest), newest)
    elif stage.first_step and config.train.level_start == "below":
        initial_weights.start_from_below(model, stage.levels[-1])


def _report_stop(training: _Training, worker: int, reason: int) -> None:
    """Says where a training stopped early; raises Interrupted if that was by a signal."""
    workers, step = training.workers, training.model.step
    newest = next(iter(checkpoints_in(training.run.checkpoints)), None)
    saved = f"saved: {newest}" if newest else "nothing was learned yet"
    if reason != _TIME_OVER:
        where = f" of {workers.name(worker)}" if workers.count > 1 else ""
        name = Signals(reason).name
        raise Interrupted(reason, f"{name}{where} at step {step:,}, {saved}")
    workers.say(f"The time is over at step {step:,}, {saved}. The same command continues from it")


def _label(config: ExperimentConfig, stage: Stage) -> str:
    """The levels that a stage trains, if not all of them, for the progress bar."""
    if len(stage.levels) == len(config.model.levels):
        return ""
    return f"level {' + '.join(map(str, stage.levels))}: "
