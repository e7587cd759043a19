"""Training as a whole: it learns, it goes on where it was killed, it stops when it must."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from tensorflow import keras

from pgi import images, masks
from pgi.config import DataConfig, ExperimentConfig, LossConfig, ModelConfig, TrainConfig
from pgi.errors import Interrupted, NonFiniteLossError, RunFolderError, WriteError
from pgi.inference import load_checkpoint
from pgi.losses import hole_l1
from pgi.models import Objective, PyramidGenerator
from pgi.training import (
    assembly,
    checkpoints,
    description,
    examples,
    lock,
    loop,
    pipeline,
    stopping,
)
from pgi.training.checkpoints import Checkpoints
from pgi.training.reading import FileSource
from pgi.training.run_folder import Checkpoint, RunFolder, checkpoints_in
from pgi.training.stages import stages
from tests.small_disk import small_disk

PHOTOGRAPHS = Path(skimage.data.__file__).parent
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def tiny(steps: int = 2, levels: tuple = (8, 16), **train: Any) -> ExperimentConfig:
    return ExperimentConfig(
        name="tiny",
        model=ModelConfig(
            levels=levels, width=4, discriminator_width=2, kernel_initializer="gated_he"
        ),
        loss=LossConfig(level_weights=(10.0, 1.0)[: len(levels)]),
        data=DataConfig(crop="random_resized", flip=True, validation_images=4),
        train=TrainConfig(**{"batch_size": 2, "steps": steps, "snapshot_steps": 2, **train}),
    )


def sources() -> tuple[FileSource, FileSource]:
    paths = [PHOTOGRAPHS / name for name in NAMES]
    return FileSource(paths[:3]), FileSource(paths[3:])


def flags(workdir: Path, folder: Path, steps: int) -> list[str]:
    return [
        "--config=experiments/configs/small.py",
        f"--workdir={workdir}",
        f"--config.data.dataset=folder:{folder}",
        "--config.model.levels=(8, 16)",
        "--config.loss.level_weights=(10.0, 1.0)",
        "--config.model.width=4",
        "--config.model.discriminator_width=2",
        "--config.train.batch_size=2",
        "--config.train.stage_shares=(1.0, 1.0)",
        "--config.train.stage_batch_multiples=(2, 1)",
        "--config.train.snapshot_steps=3",
        f"--config.train.steps={steps}",
    ]


def program(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "experiments.train", *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_program(*arguments: str) -> str:
    with program(*arguments) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def newest_checkpoint(workdir: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(workdir / "checkpoints"))
    # TensorFlow's own: how often this process has saved.
    theirs = {"_CHECKPOINTABLE_OBJECT_GRAPH", f"save_counter{VALUE}"}
    names = set(reader.get_variable_to_shape_map()) - theirs
    return {name: reader.get_tensor(name) for name in names}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in NAMES:
        (folder / name).symlink_to(PHOTOGRAPHS / name)
    (folder / "damaged.png").write_text("no image")
    return folder


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bits_of_an_unbroken_one(tmp_path: Path, folder: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_program(*flags(whole, folder, steps=12))

    # Killed in the middle of things: after a checkpoint, at whatever step, and then continued past
    # the end of the first stage, where the second level starts from the first.
    process = program(*flags(broken, folder, steps=12))
    deadline = time.monotonic() + 120
    while tf.train.latest_checkpoint(str(broken / "checkpoints")) is None:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert newest_checkpoint(broken)["step" + VALUE] < 12
    report = run_program(*flags(broken, folder, steps=12))
    assert str(broken) in report and "mean colour" in report
    assert "Skipped images and folders, see the warnings above: 1" in report

    expected, found = newest_checkpoint(whole), newest_checkpoint(broken)
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    lines = [RunFolder(path).read_metrics() for path in (whole, broken)]
    assert [line["step"] for line in lines[1]] == [3, 6, 9, 12]
    assert lines[1][-1] == lines[0][-1]


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_run_goes_on_from_within_every_stage_and_from_their_border(
    tmp_path: Path, step: int
) -> None:
    config = tiny(
        steps=8,
        schedule="bottom_up",
        level_start="below",
        learning_rate_schedule="cosine",
        ema_momentum=0.9,
        keep_checkpoints=4,
    )
    loop.train(config, *sources(), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    folder = tmp_path / "broken" / "checkpoints"
    for file in folder.glob("step-*"):
        if int(file.name.split("-")[1].split(".")[0]) > step:
            file.unlink()
    tf.compat.v1.train.update_checkpoint_state(str(folder), f"step-{step}", [f"step-{step}"])
    loop.train(config, *sources(), tmp_path / "broken")
    expected, found = (newest_checkpoint(tmp_path / name) for name in ("whole", "broken"))
    assert expected.keys() == found.keys() and expected["step" + VALUE] == 8
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def validation_images(
    config: ExperimentConfig, source: FileSource
) -> tuple[np.ndarray, np.ndarray]:
    """Made one by one, by the pipeline's parts."""
    truths, holes = [], []
    for number in range(config.data.validation_images):
        seed = pipeline.VALIDATION_SEED
        crops = pipeline.crops(
            source,
            size=16,
            crop=config.data.crop,
            batch_size=1,
            seed=seed,
            first=number,
            count=1,
            shuffle=False,
        )
        build = pipeline.pyramid_builder(2, config.mask, seed)
        images_, masks_ = build(*next(iter(crops)))
        truths.append(images_[-1][0].numpy())
        holes.append(masks_[-1][0, ..., 0].numpy() == 1)
    return np.stack(truths), np.stack(holes)


def test_training_and_validation_crops_are_downsampled() -> None:
    config, larger = tiny(), tiny(levels=(16, 32))
    config.data.downsample = 2
    crops, crops_of_larger = (
        next(iter(examples.training_crops(x, sources()[0], batch_size=4)))[0]
        for x in (config, larger)
    )
    means = crops_of_larger.numpy().reshape(4, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(crops.numpy() - means).max() <= 0.5

    (*_, truth), (lower, _) = (
        examples.validation_examples(x, sources()[1])[0] for x in (config, larger)
    )
    assert np.abs(truth - lower).max() <= 1.01 / 255  # Rounded to 8 bits.


@pytest.mark.usefixtures("eagerly")
def test_the_run_folder_holds_what_it_promises(tmp_path: Path) -> None:
    config = tiny(steps=3)
    last = loop.train(config, *sources(), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.read_config() == config
    description = json.loads((run.path / "config.json").read_text())
    assert description["versions"]["tensorflow"] == tf.__version__
    lines = run.read_metrics()
    assert [line["step"] for line in lines] == [2, 3]
    truth, holes = validation_images(config, sources()[1])
    error = np.abs(truth - truth.mean(axis=(1, 2), keepdims=True))
    mean_colour = np.mean([e[h].mean() for e, h in zip(error, holes)])
    for line in lines:
        np.testing.assert_allclose(line["validation/mean_colour_hole_l1"], mean_colour, rtol=1e-5)
        assert line["validation/hole_l1"] == line["validation/level_1/hole_l1"] > 0
    assert sorted(path.name for path in run.samples.iterdir()) == [
        "step_0000002.png",
        "step_0000003.png",
    ]
    assert tf.train.latest_checkpoint(str(run.checkpoints)).endswith("step-3")
    (events,) = run.events.iterdir()
    logged = {
        (event.step, value.tag): tf.make_ndarray(value.tensor)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    for line in run.read_metrics():
        for name, value in line.items():
            if name != "step":
                np.testing.assert_allclose(logged[line["step"], name], value, rtol=1e-6)

    for n, weight in enumerate(config.loss.level_weights):
        loss = last[f"train/level_{n}/adversarial"] + last[f"train/level_{n}/l1"]
        np.testing.assert_allclose(last[f"train/level_{n}/loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(last[f"train/level_{n}/weighted_loss"], weight * loss, rtol=1e-5)
        assert f"train/level_{n}/discriminator_loss" in last
    for total, part in (("loss", "weighted_loss"), ("unweighted_loss", "loss")):
        parts = sum(last[f"train/level_{n}/{part}"] for n in range(2))
        np.testing.assert_allclose(last[f"train/{total}"], parts, rtol=1e-5)


@pytest.mark.usefixtures("eagerly")
def test_a_run_of_another_config_is_refused_with_the_difference(tmp_path: Path) -> None:
    loop.train(tiny(steps=1, levels=(16,)), *sources(), tmp_path / "run")
    before = newest_checkpoint(tmp_path / "run")
    other = tiny(steps=4, levels=(16,), learning_rate=3e-3)
    with pytest.raises(RunFolderError, match=r"train.learning_rate: 0.0001, not 0.003") as error:
        loop.train(other, *sources(), tmp_path / "run")
    assert "steps" not in str(error.value)
    after = newest_checkpoint(tmp_path / "run")
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.usefixtures("eagerly")
def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    loop.train(tiny(steps=2, levels=(16,)), *sources(), run)
    good = newest_checkpoint(run)

    class Poisoned(FileSource):
        """Breaks the refine network as soon as training goes on."""

        model: PyramidGenerator

        def read(self, index: int) -> np.ndarray:
            self.model.sub_generators[0].refine.decoder.conv17.bias.assign([np.nan] * 3)
            return super().read(index)

    make_model = assembly.make_model
    poisoned = Poisoned(sources()[0].paths)

    def remember(config: ExperimentConfig) -> PyramidGenerator:
        poisoned.model = make_model(config)
        return poisoned.model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "make_model", remember)
        with pytest.raises(NonFiniteLossError, match=r"level_\d/\w+ is nan.*step-2") as error:
            loop.train(tiny(steps=6, levels=(16,)), poisoned, sources()[1], run)
    assert "level_0" in str(error.value)
    kept = newest_checkpoint(run)
    assert all(np.array_equal(good[name], kept[name]) for name in good)


@pytest.mark.usefixtures("eagerly")
def test_weights_that_break_in_the_last_step_of_a_snapshot_are_not_saved(tmp_path: Path) -> None:
    run = tmp_path / "run"

    class Breaking(stopping.TotalSteps):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            if self.model.step == 4:
                self.model.sub_generators[0].refine.decoder.conv17.bias.assign([np.inf] * 3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "TotalSteps", Breaking)
        with pytest.raises(NonFiniteLossError, match=r"level_0's sub-generator .*step-2"):
            loop.train(tiny(steps=6, levels=(16,)), *sources(), run)
    assert all(np.isfinite(x).all() for x in newest_checkpoint(run).values())


@pytest.mark.usefixtures("eagerly")
def test_a_run_goes_on_without_tensorflows_note_and_at_another_place(tmp_path: Path) -> None:
    loop.train(tiny(steps=2, levels=(16,)), *sources(), tmp_path / "run")
    (tmp_path / "run/checkpoints/checkpoint").unlink()
    (tmp_path / "run").rename(tmp_path / "renamed")
    loop.train(tiny(steps=4, levels=(16,)), *sources(), tmp_path / "renamed")
    renamed = RunFolder(tmp_path / "renamed")
    assert [line["step"] for line in renamed.read_metrics()] == [2, 4]
    assert [x.step for x in checkpoints_in(renamed.checkpoints)] == [4, 2]


@pytest.mark.usefixtures("eagerly")
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path: Path) -> None:
    config, whole, broken = tiny(steps=4, levels=(16,)), tmp_path / "whole", tmp_path / "broken"
    loop.train(config, *sources(), whole)
    shutil.copytree(whole, broken)
    for part in (broken / "checkpoints").glob("step-4*"):
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    loop.train(config, *sources(), broken)
    assert [line["step"] for line in RunFolder(broken).read_metrics()] == [2, 4]
    assert [x.step for x in checkpoints_in(broken / "checkpoints/damaged")] == [4]
    expected, found = newest_checkpoint(whole), newest_checkpoint(broken)
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def assert_same_end(whole: Path, broken: Path) -> None:
    expected, found = newest_checkpoint(whole), newest_checkpoint(broken)
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert RunFolder(broken).read_metrics() == RunFolder(whole).read_metrics()
    pictures = [sorted(x.name for x in (p / "samples").iterdir()) for p in (whole, broken)]
    assert pictures[0] == pictures[1]


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("ema_momentum", [0.0, 0.9])
def test_a_run_stopped_at_any_steps_has_the_snapshots_of_an_undisturbed_one(
    tmp_path: Path, ema_momentum: float, capsys: pytest.CaptureFixture
) -> None:
    """By signals and by the time limit: within an interval, at its end, at the end of a stage."""
    options: dict[str, Any] = {"ema_momentum": ema_momentum, "schedule": "bottom_up"}
    config = tiny(steps=14, snapshot_steps=3, keep_checkpoints=20, **options)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    loop.train(config, *sources(), whole)
    assert [line["step"] for line in RunFolder(whole).read_metrics()] == [3, 6, 7, 10, 13, 14]
    stops: dict[int, Any] = {
        1: signal.SIGTERM,
        2: signal.SIGINT,
        3: signal.SIGUSR1,
        5: "time",
        7: signal.SIGTERM,
        9: "time",
        12: signal.SIGINT,
        13: "time",
    }
    now = [0.0]

    class Stopping(stopping.TotalSteps):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            if self.taken == step and how == "time":
                now[0] += 61.0
            elif self.taken == step:
                os.kill(os.getpid(), how)
                time.sleep(0.3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "TotalSteps", Stopping)
        patch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
        for step, how in stops.items():
            limited = replace(config, train=replace(config.train, minutes=1.0))
            if how == "time":
                loop.train(limited, *sources(), broken)
                assert f"The time is over at step {step}, saved: " in capsys.readouterr().out
            else:
                with pytest.raises(
                    Interrupted, match=f"{how.name} at step {step}, .*-{step}$"
                ) as e:
                    loop.train(limited, *sources(), broken)
                assert e.value.signal == how
            assert newest_checkpoint(broken)["step" + VALUE] == step
    loop.train(config, *sources(), broken)
    assert_same_end(whole, broken)


@pytest.mark.usefixtures("eagerly")
def test_a_signal_in_the_last_step_is_no_interruption(tmp_path: Path) -> None:
    class Stopping(stopping.TotalSteps):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "TotalSteps", Stopping)
        assert loop.train(tiny(steps=1, levels=(16,)), *sources(), tmp_path / "run")["step"] == 1


@pytest.mark.usefixtures("eagerly")
def test_weights_that_are_not_finite_are_not_saved_at_an_interruption(tmp_path: Path) -> None:
    class Breaking(stopping.TotalSteps):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            self.model.sub_generators[0].refine.decoder.conv17.bias.assign([np.inf] * 3)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "TotalSteps", Breaking)
        with pytest.raises(NonFiniteLossError, match="level_0's sub-generator"):
            loop.train(tiny(steps=6, levels=(16,)), *sources(), tmp_path / "run")
    assert not checkpoints_in(tmp_path / "run/checkpoints")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_the_program_saves_at_a_signal_and_ends_with_its_status(
    tmp_path: Path, folder: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    with program(*flags(run, folder, steps=200_000), "--config.train.snapshot_steps=100000") as p:
        assert p.stdout is not None
        while "step=5" not in (line := p.stdout.readline()):  # Bars are lines in text mode.
            assert line
        p.send_signal(number)
        output, _ = p.communicate(timeout=120)
    assert p.returncode == 128 + number, output
    (checkpoint,) = checkpoints_in(run / "checkpoints")
    assert f"{number.name} at step {checkpoint.step:,}, saved: {checkpoint}; the same" in output
    assert "Traceback" not in output


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    ("place", "holder", "function"),
    [
        ("metrics.jsonl", RunFolder, "append_metrics"),
        ("samples/step_0000004.png", RunFolder, "write_picture"),
        ("checkpoints/step-4", Checkpoints, "save"),
    ],
)
def test_a_full_disk_is_named_and_the_run_goes_on_after_it(
    tmp_path: Path, place: str, holder: Any, function: str
) -> None:
    config = tiny(steps=4, levels=(16,))
    with small_disk(tmp_path / "disk") as disk:
        run = RunFolder(disk.path / "run")
        loop.train(tiny(steps=2, levels=(16,)), *sources(), run.path)
        original = getattr(holder, function)

        def fill_first(*arguments: Any) -> None:
            disk.fill(free=0)
            original(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(holder, function, fill_first)
            with pytest.raises(WriteError, match=f"cannot write {run.path / place}: .*No space"):
                loop.train(config, *sources(), run.path)
        assert [x.step for x in checkpoints_in(run.checkpoints)] == [2]
        assert not [*run.path.rglob("*_temp")] and not [*run.path.rglob("*.part")]
        disk.empty()
        loop.train(config, *sources(), run.path)
        assert [line["step"] for line in run.read_metrics()] == [2, 4]
        found = newest_checkpoint(run.path)
    loop.train(config, *sources(), tmp_path / "whole")
    expected = newest_checkpoint(tmp_path / "whole")
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_a_joint_training_ignores_what_belongs_to_stages(tmp_path: Path) -> None:
    options: dict[str, Any] = {"level_start": "below", "stage_batch_multiples": (3, 1)}
    loop.train(tiny(steps=1), *sources(), tmp_path / "plain")
    loop.train(tiny(steps=1, **options), *sources(), tmp_path / "other")
    expected, found = (newest_checkpoint(tmp_path / name) for name in ("plain", "other"))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("start", ["below", "initializer"])
def test_a_stage_begins_with_the_weights_that_its_config_names(start: str, tmp_path: Path) -> None:
    # At such a rate no weight moves.
    options: dict[str, Any] = {"schedule": "bottom_up", "learning_rate": 1e-30}
    config = tiny(steps=2, snapshot_steps=1, level_start=start, **options)
    loop.train(config, *sources(), tmp_path / "run")
    kernels = [
        saved(tmp_path / "run", 2, f"sub_generators/{level}/refine/decoder/conv17/kernel")
        for level in (0, 1)
    ]
    assert (kernels[0] == kernels[1]).all() == (start == "below")


def saved(run: Path, step: int, name: str) -> np.ndarray:
    return tf.train.load_variable(str(run / "checkpoints" / f"step-{step}"), name + VALUE)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_the_moving_average_is_kept_beside_weights_that_train_as_without_it(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"steps": 3, "levels": (16,), "snapshot_steps": 1}
    for momentum in (0.0, 0.2):
        config = tiny(ema_momentum=momentum, **arguments)
        last = loop.train(config, *sources(), tmp_path / str(momentum))
    plain, averaging = tmp_path / "0.0", tmp_path / "0.2"
    kernel = "sub_generators/0/refine/decoder/conv17/kernel"
    average = assembly.make_model(config).sub_generators[0].refine.decoder.conv17.kernel.numpy()
    for step in (1, 2, 3):
        weights = saved(plain, step, kernel)
        np.testing.assert_array_equal(saved(averaging, step, kernel), weights)
        kept = min(0.2, (1 + step) / (10 + step))  # 0.18, then 0.2.
        average = kept * average + (1 - kept) * weights
        found = saved(averaging, step, f"averaged_{kernel}")
        np.testing.assert_allclose(found, average, atol=1e-6)
    assert np.abs(average - weights).max() > 1e-6

    # Validation, and whoever loads the run, use the average.
    truth, holes = validation_images(tiny(), sources()[1])
    inputs = images.pyramids(truth, holes[..., None].astype(np.float32), 1)
    filled = load_checkpoint(Checkpoint.find(averaging)).model(inputs)[-1].completed
    found = np.mean([e[h].mean() for e, h in zip(np.abs(filled - truth), holes)])
    np.testing.assert_allclose(last["validation/hole_l1"], found, rtol=1e-4)
    plain_model = load_checkpoint(Checkpoint.find(plain)).model
    assert np.abs(plain_model(inputs)[-1].completed - filled).max() > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule, trained", [("layerwise", [[0], [1]]), ("bottom_up", [[0], [0, 1]])]
)
@pytest.mark.usefixtures("eagerly")
def test_stages_train_their_levels_with_fresh_optimisers(
    tmp_path: Path, schedule: str, trained: list
) -> None:
    """Adam's first update moves no weight by more than the learning rate."""
    arguments: dict[str, Any] = {"stage_batch_multiples": (2, 1), "snapshot_steps": 1}
    config = tiny(steps=8, schedule=schedule, keep_checkpoints=8, **arguments)
    loop.train(config, *sources(), tmp_path / "run")
    lines = RunFolder(tmp_path / "run").read_metrics()
    levels = [sorted(n for n in range(2) if f"train/level_{n}/l1" in line) for line in lines]
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert levels == [trained[0]] * 4 + [trained[1]] * 4
    # Level 1's first update.
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "run/checkpoints/step-5"))]
    names = [n[: -len(VALUE)] for n in names if n.startswith("sub_generators/1") and "kernel" in n]
    before, after = ([saved(tmp_path / "run", step, name) for name in names] for step in (4, 5))
    moved = max(np.abs(new - old).max() for new, old in zip(after, before))
    np.testing.assert_allclose(moved, config.train.learning_rate, rtol=1e-2)
    reader = tf.train.load_checkpoint(str(tmp_path / "run/checkpoints/step-6"))
    assert reader.get_tensor("step" + VALUE) == 6
    assert reader.get_tensor("generator_optimizer/_iterations" + VALUE) == 2


def test_both_optimisers_are_adam_with_the_values_of_the_config() -> None:
    """By TensorFlow 1's formula: epsilon stands beside the root of the uncorrected moment."""
    config = tiny(learning_rate=0.2, beta_1=0.3, beta_2=0.9, epsilon=0.5)
    model = assembly.make_model(config)
    assembly.compile_model(model, config, stages(config)[0])
    assert model.generator_optimizer is not model.discriminator_optimizer
    for optimizer, variables in (
        (model.generator_optimizer, model.generator_variables),
        (model.discriminator_optimizer, model.discriminator_variables),
    ):
        expected, mean, square = variables[0].numpy(), 0.0, 0.0
        for n, g in enumerate((1.0, -0.5), start=1):
            optimizer.apply_gradients([(tf.fill(v.shape, g), v) for v in variables])
            mean, square = 0.3 * mean + 0.7 * g, 0.9 * square + 0.1 * g**2
            rate = 0.2 * np.sqrt(1 - 0.9**n) / (1 - 0.3**n)
            expected = expected - rate * mean / (np.sqrt(square) + 0.5)
        np.testing.assert_allclose(variables[0], expected, atol=1e-5)


def test_a_batch_that_replicas_cannot_share_is_refused(tmp_path: Path) -> None:
    reduction = tf.distribute.ReductionToOneDevice()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of 2 replicas .*, got 3"):
        loop.train(tiny(batch_size=3), *sources(), tmp_path / "run", two)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_devices_train_like_one(tmp_path: Path) -> None:
    reduction = tf.distribute.ReductionToOneDevice()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    options: dict[str, Any] = {"learning_rate": 1e-2, "clip_norm": 0.5, "ema_momentum": 0.9}
    config = tiny(steps=2, snapshot_steps=1, schedule="bottom_up", level_start="below", **options)
    one_log = loop.train(config, *sources(), tmp_path / "one")
    two_log = loop.train(config, *sources(), tmp_path / "two", two)
    assert one_log.keys() == two_log.keys()
    for name in one_log:
        np.testing.assert_allclose(two_log[name], one_log[name], atol=1e-4, err_msg=name)
    one, two = newest_checkpoint(tmp_path / "one"), newest_checkpoint(tmp_path / "two")
    kernels = [name for name in one if "generators" in name and "/kernel/.ATTRIBUTES" in name]
    assert kernels
    for name in kernels:
        np.testing.assert_allclose(two[name], one[name], atol=1e-3, err_msg=name)


@pytest.mark.slow
def test_it_learns_to_fill_the_holes_of_two_photographs() -> None:
    """Better than any constant could: that of each image's hole is its median colour."""
    crops = [images.to_float(_photograph(name)) for name in ("astronaut.png", "coffee.png")]
    photographs = tf.stack(crops)
    holes = masks.training_masks(tf.constant([[0, 1], [0, 2]]), 32, 32, min_width=2, max_width=5)
    inputs = images.pyramids(photographs, holes, 2)

    keras.utils.set_random_seed(0)
    model = PyramidGenerator(
        (16, 32), width=16, discriminator_width=8, kernel_initializer="gated_he"
    )
    optimizers = [keras.optimizers.Adam(2e-3, beta_1=0.5) for _ in range(2)]
    model.compile(optimizers[0], optimizers[1], Objective(adversarial_weight=0.01))
    dataset = tf.data.Dataset.from_tensors(inputs).repeat()
    model.fit(dataset, steps_per_epoch=150, verbose=0)
    ours = hole_l1(photographs, model(inputs)[-1].completed, holes).numpy()

    for i in range(2):
        values = photographs[i].numpy()[holes[i, ..., 0].numpy() == 1]
        best_constant = np.abs(values - np.median(values, axis=0)).mean()
        assert ours[i] < 0.7 * best_constant


def _photograph(name: str) -> np.ndarray:
    image = tf.io.decode_image((PHOTOGRAPHS / name).read_bytes(), channels=3)
    small = tf.image.resize(image[:400, :400], [32, 32], antialias=True)
    return tf.cast(small, tf.uint8).numpy()


@pytest.mark.usefixtures("eagerly")
def test_the_coarse_l1_is_added_when_it_is_weighted(tmp_path: Path) -> None:
    config = tiny(steps=1, levels=(16,))
    config.loss.coarse_l1_weight = 0.5
    last = loop.train(config, *sources(), tmp_path / "run")
    terms = [last[f"train/level_0/{term}"] for term in ("adversarial", "l1", "coarse_l1")]
    np.testing.assert_allclose(last["train/level_0/loss"], np.dot(terms, [1, 1, 0.5]), rtol=1e-5)


@pytest.mark.usefixtures("eagerly")
def test_a_run_says_where_it_continues_and_is_left_alone_when_it_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    loop.train(tiny(steps=1, levels=(16,)), *sources(), run)
    assert "Continues" not in capsys.readouterr().out
    last = loop.train(tiny(steps=2, levels=(16,)), *sources(), run)
    assert "Continues at step 1\n" in capsys.readouterr().out
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != lock.FILE}
    monkeypatch.setattr(description, "provenance", lambda: {"git_commit": "another"})
    assert loop.train(tiny(steps=2, levels=(16,)), *sources(), run) == last
    assert "All 2 steps are done\n" in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())
    with pytest.raises(RunFolderError, match=r"train\.seed: 0, not 1"):
        loop.train(tiny(steps=2, levels=(16,), seed=1), *sources(), run)


@pytest.mark.usefixtures("eagerly")
def test_a_run_goes_on_with_its_photographs_at_another_path(tmp_path: Path) -> None:
    loop.train(tiny(steps=1, levels=(16,)), *sources(), tmp_path / "run")
    (tmp_path / "moved").mkdir()
    paths = [Path(shutil.copy(PHOTOGRAPHS / name, tmp_path / "moved")) for name in NAMES]
    config = tiny(steps=2, levels=(16,))
    config.data.dataset = f"folder:{tmp_path}/moved/"
    moved = FileSource(paths[:3]), FileSource(paths[3:])
    assert loop.train(config, *moved, tmp_path / "run")["step"] == 2


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("number", range(description.FORMAT + 1))
def test_a_run_folder_of_every_format_goes_on(tmp_path: Path, number: int) -> None:
    """The checkpoint is made here, as that version made it."""
    run = RunFolder(tmp_path / "run")
    shutil.copytree(Path(__file__).parent / "run_folders" / f"format_{number}", run.path)
    found = json.loads((run.path / "config.json").read_text())
    assert found.get("format", 0) == number
    config = run.read_config()
    model = assembly.make_model(config)
    assembly.compile_model(model, config, stages(config)[0])
    model.steps_taken.assign(1)
    if number == 0:
        folder = str(run.checkpoints)
        objects = checkpoints.everything(model)
        tf.train.CheckpointManager(objects, folder, 3, checkpoint_name="step").save(1)
    else:
        Checkpoints(run, model, config.train).save(1, None)
    before = run.read_metrics()
    last = loop.train(tiny(steps=2, levels=(16,)), *sources(), run.path)
    assert last["step"] == 2 and run.read_metrics() == [*before, last]
    assert run.read_description()["format"] == description.FORMAT
    assert run.picture(1) is None and run.picture(2) is not None


@pytest.mark.usefixtures("eagerly")
def test_a_folder_that_has_other_photographs_now_is_refused(tmp_path: Path) -> None:
    """Their order would be another one, and the run another than it began as."""
    loop.train(tiny(steps=1, levels=(16,)), *sources(), tmp_path / "run")
    photographs, validation = sources()
    more = FileSource([*photographs.paths, PHOTOGRAPHS / "rocket.jpg"])
    with pytest.raises(RunFolderError, match=r"train images: 3, not 4"):
        loop.train(tiny(steps=2, levels=(16,)), more, validation, tmp_path / "run")
