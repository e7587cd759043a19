"""The folder of a training run, and its checkpoints.

    config.json      format, config, images, git commit, package versions
    checkpoints/     the latest checkpoints, found by their files; damaged ones in damaged/
    milestones/      checkpoints that are never deleted
    best/            the checkpoint with the lowest hole L1 in validation
    metrics.jsonl    one line per snapshot
    events/          the same for TensorBoard
    samples/         one picture per snapshot: the newest 50 and the milestones'
    diverged.json    step and reason, if an ablation's variant diverged
    MODEL_CARD.md    of imported weights: origin and licence

JSON files and pictures are written atomically, so that no reader sees half a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from pgi.atomic import is_leftover, remove_leftovers, write_atomically
from pgi.config import ExperimentConfig
from pgi.errors import RunFolderError
from pgi.training import description, lock, metrics_file

# In addition to the milestones'.
_KEPT_PICTURES = 50


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run.

    Args:
        prefix: RUN/FOLDER/step-N, the path that its files begin with, as TensorFlow names it.
    """

    prefix: Path

    @classmethod
    def find(cls, path: str | Path) -> Checkpoint:
        """The checkpoint that a path names.

        Args:
            path: a checkpoint, with or without ".index", or a run folder for its newest one.

        Raises:
            RunFolderError: there is no run or no checkpoint.
        """
        path = Path(path)
        if path.is_dir():
            run = RunFolder(path)
            run.read_config()
            if newest := run.newest_checkpoint():
                return newest
            raise RunFolderError(f"{path} holds no checkpoint yet")
        prefix = path.with_suffix("") if path.suffix == ".index" else path
        if not prefix.with_name(f"{prefix.name}.index").is_file():
            raise RunFolderError(
                f"{path} is neither a run folder nor a checkpoint nor a SavedModel"
            )
        return cls(prefix)

    def __str__(self) -> str:
        return str(self.prefix)

    @property
    def name(self) -> str:
        """Such as "step-5000"."""
        return self.prefix.name

    @property
    def step(self) -> int | None:
        """Steps of training; None if the name does not end with a number."""
        return step_of(self.name)

    @property
    def run(self) -> RunFolder:
        """The run that it belongs to."""
        return RunFolder(self.prefix.parent.parent)

    @property
    def files(self) -> list[Path]:
        """Its index and data files, sorted; not a graph (.meta) that TensorFlow 1 wrote beside."""
        files = self.prefix.parent.glob(f"{self.name}.*")
        return sorted(path for path in files if path.suffix != ".meta")

    def damage(self) -> str | None:
        """Why it cannot be read; None if it can. Reads all of it, which verifies its checksums."""
        import tensorflow as tf  # Not above: it takes seconds, and reports need none of it.
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

        shards = (re.fullmatch(r"\.data-\d+-of-(\d+)", path.suffix) for path in self.files)
        counts = [int(shard[1]) for shard in shards if shard]
        if not counts or len(counts) < max(counts):
            return f"{len(counts)} of {max(counts, default=1)} data files are there"
        try:
            reader = tf.train.load_checkpoint(str(self))
            found = reader.get_variable_to_shape_map()
            for name in found:
                reader.get_tensor(name)
            # A damaged block of a long index is no error: its variables are just not there.
            graph = TrackableObjectGraph.FromString(
                reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
            )
            named = {x.checkpoint_key for node in graph.nodes for x in node.attributes}
            if missing := named - set(found):
                return f"{len(missing)} variables are missing, such as {min(missing)}"
        except Exception as error:  # TensorFlow has another exception for each kind of damage.
            return " ".join(str(error).split()) or type(error).__name__
        return None

    @property
    def sha256(self) -> str:
        """SHA-256 of the names and contents of its files."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(path.name.encode(errors="surrogateescape") + path.read_bytes())
        return digest.hexdigest()

    def delete(self) -> None:
        """Deletes its files, the index first: without it no checkpoint is seen."""
        for path in sorted(self.files, key=lambda path: path.suffix != ".index"):
            path.unlink()

    def move(self, folder: Path) -> None:
        """Moves its files to a folder, which is made, in the same order."""
        folder.mkdir(exist_ok=True)
        for path in sorted(self.files, key=lambda path: path.suffix != ".index"):
            path.replace(folder / path.name)


def checkpoints_in(folder: Path) -> list[Checkpoint]:
    """The checkpoints of a folder by their index files, `step-N.index`, the newest step first."""
    found = {
        step: checkpoint
        for checkpoint in (Checkpoint(path.with_suffix("")) for path in folder.glob("step-*.index"))
        if (step := checkpoint.step) is not None and checkpoint.name == f"step-{step}"
    }
    return [found[step] for step in sorted(found, reverse=True)]


def step_of(name: str | None) -> int | None:
    """The step in a checkpoint's name, such as 5000 in "step-5000"; None without one."""
    number = (name or "").rpartition("-")[2]
    return int(number) if number.isdecimal() else None


class RunFolder:
    """The files of one run, in a folder that `begin` makes."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.milestones = self.path / "milestones"
        self.best = self.path / "best"
        self.events = self.path / "events"
        self.samples = self.path / "samples"
        self._config = self.path / "config.json"
        self._divergence = self.path / "diverged.json"
        self._metrics = self.path / "metrics.jsonl"

    @classmethod
    def around(cls, path: Path) -> RunFolder | None:
        """The run whose folder this is, or that has it in a folder of checkpoints; else None."""
        # In a run from elsewhere, any folder and config.json itself may be links.
        for place in (Path(os.path.abspath(path)), path.resolve()):
            runs = [cls(place)]
            for folder in (place, *place.parents):
                run = cls(folder.parent)
                if folder in (run.checkpoints, run.milestones, run.best):
                    runs.append(run)
            for run in runs:
                if os.path.lexists(run._config):
                    return run
        return None

    def begin(
        self,
        config: ExperimentConfig,
        images: Mapping[str, Any] | None = None,
        licence: str | None = None,
        imported: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the folder, or prepares it for continuing its run.

        Args:
            config: of the run.
            images: number and identity of the images of each part, `{"train": [7, "files a1"]}`; a
                run is continued with the same images only, wherever they are stored.
            licence: of the images, for the model card.
            imported: where the weights are from, if not from a training.

        Raises:
            RunFolderError: the folder holds a run with another config or other images, or files
                of another kind.
        """
        self._make()
        self.refuse_other(config, images or {})
        description.write(self._config, config, images or {}, licence, imported)
        self.samples.mkdir(exist_ok=True)
        self.milestones.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and keeps other trainings out of it; readers are not blocked.

        Raises:
            RunFolderError: another training uses the folder, or it holds files of another kind.
        """
        self._make()
        with lock.locked(self.path):
            yield

    def refuse_other(self, config: ExperimentConfig, images: Mapping[str, Any]) -> None:
        """Raises RunFolderError if the folder holds a run of another config or other images."""
        if self._config.exists():
            description.refuse_other(self._config, config, images)

    def _make(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is not a folder")
        # A run that was killed while config.json was written leaves the temporary file.
        found = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        others = {name for name in found if not is_leftover(name, self._config.name)} - {lock.FILE}
        if others and not self._config.exists():
            raise RunFolderError(f"{self.path} holds other files and no run (no config.json)")
        self.path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path)

    def read_config(self) -> ExperimentConfig:
        """The config of the run's last `begin`.

        Raises:
            RunFolderError: config.json is missing, invalid, or of a later version.
        """
        return description.read_config(self._config)

    def read_description(self) -> dict[str, Any]:
        """The contents of config.json, with the errors of `read_config`."""
        return description.read(self._config)

    def imported(self) -> dict[str, Any] | None:
        """Where the weights are from, None if from a training; errors as of `read_config`."""
        return description.imported(self._config)

    def record_divergence(self, step: int, reason: str) -> None:
        """Records that the training diverged, after which step and why."""
        content = json.dumps({"step": step, "reason": reason}, indent=2)
        write_atomically(self._divergence, content.encode() + b"\n")

    def read_divergence(self) -> dict[str, Any] | None:
        """The recorded step and reason; None if the training did not diverge."""
        if not self._divergence.exists():
            return None
        divergence: dict[str, Any] = json.loads(self._divergence.read_bytes())
        return divergence

    def forget_divergence(self) -> None:
        """Deletes the record of a divergence."""
        self._divergence.unlink(missing_ok=True)

    def append_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line of `{"step": ..., name: value, ...}`."""
        metrics_file.append(self._metrics, step, values)

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines that can be read, oldest first; warns of the others."""
        return metrics_file.read(self._metrics)

    def forget_after(self, step: int) -> None:
        """Deletes metrics and pictures of later steps, which a continued run repeats."""
        metrics_file.forget_after(self._metrics, step)
        for taken, picture in self._pictures():
            if taken > step:
                picture.unlink()

    def newest_checkpoint(self) -> Checkpoint | None:
        """The latest checkpoint that can be read; None if there is none yet.

        Prints a warning for each later one that cannot be read.

        Raises:
            RunFolderError: there are checkpoints, but none can be read.
        """
        newest, damaged = self._examine()
        for checkpoint, problem in damaged.items():
            logging.warning("skipped %s, which is damaged: %s", checkpoint, problem)
        return newest

    def checkpoint_to_continue(self) -> Checkpoint | None:
        """As `newest_checkpoint`, to go on with training.

        Moves later ones that cannot be read to `checkpoints/damaged`, and deletes what killed
        savings and deletions of checkpoints left behind.

        Raises:
            RunFolderError: as `newest_checkpoint`; or all checkpoints are gone.
        """
        newest, damaged = self._examine()
        steps = {line["step"] for line in self.read_metrics()}
        # A run that was killed in its first snapshot has one line, perhaps the milestone, and no
        # checkpoint.
        if newest is None and (len(steps) > 1 or set(self.milestone_steps()) - steps):
            raise RunFolderError(
                f"{self.checkpoints} has no checkpoint, although {self.path} has metrics of "
                f"{len(steps)} snapshots. Put one back, for example from {self.milestones} or "
                f"{self.best}, or remove {self.path} to start again"
            )
        for checkpoint, problem in damaged.items():
            checkpoint.move(self.checkpoints / "damaged")
            logging.warning(
                "skipped %s, which is damaged and was moved to %s: %s",
                *(checkpoint, self.checkpoints / "damaged", problem),
            )
        self._remove_leftovers()
        return newest

    def _examine(self) -> tuple[Checkpoint | None, dict[Checkpoint, str]]:
        """The latest checkpoint that can be read, and what is wrong with later ones."""
        damaged: dict[Checkpoint, str] = {}
        for checkpoint in checkpoints_in(self.checkpoints):
            problem = checkpoint.damage()
            if problem is None:
                return checkpoint, damaged
            damaged[checkpoint] = problem
        if damaged:
            reasons = "".join(f"\n  {x.name}: {problem}" for x, problem in damaged.items())
            raise RunFolderError(
                f"{self.checkpoints} has no checkpoint that can be read:{reasons}\n"
                f"Put one back, for example from {self.milestones} or {self.best}"
            )
        return None, damaged

    def _remove_leftovers(self) -> None:
        for folder in (self.checkpoints, self.milestones, self.best):
            for path in folder.glob("step-*_temp"):
                shutil.rmtree(path)
            for path in [*folder.glob("step-*.data-*"), *folder.glob("checkpoint.tmp*")]:
                if not path.with_suffix(".index").exists():
                    path.unlink()

    def milestone_steps(self) -> list[int]:
        """The milestones' steps, in ascending order."""
        return sorted(checkpoint.step or 0 for checkpoint in checkpoints_in(self.milestones))

    def write_picture(self, step: int, content: bytes, suffix: str) -> None:
        """Writes a sample picture; keeps the newest 50 and the milestones', deletes the others.

        The suffix is ".png" or ".jpg".
        """
        write_atomically(self.samples / f"step_{step:07d}{suffix}", content)
        kept = self.milestone_steps()
        for taken, path in self._pictures()[:-_KEPT_PICTURES]:
            if taken not in kept:
                path.unlink()

    def picture(self, step: int) -> Path | None:
        """The sample picture of a step; None if there is none."""
        return dict(self._pictures()).get(step)

    def _pictures(self) -> list[tuple[int, Path]]:
        """Steps and their sample pictures, in ascending order."""
        pictures = (p for p in self.samples.glob("step_*") if p.suffix in (".png", ".jpg"))
        return sorted((int(path.stem.partition("_")[2]), path) for path in pictures)
