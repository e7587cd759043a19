"""A run's folder: what was asked for, how far it got, what it looked like.

    config.json      resolved config, git commit, versions
    checkpoints/     the latest ones, and which is the newest
    milestones/      those that are kept for good
    best/            the one with the lowest hole L1 in validation
    metrics.jsonl    one line a snapshot
    events/          the same for TensorBoard
    samples/         the newest 50 pictures, one a snapshot, and the milestones'
    diverged.json    step and reason, if an ablation's variant diverged

A reader never sees a half-written file: each is written beside its place and then renamed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgi.atomic import write_atomically
from pgi.config import ExperimentConfig, differences, from_dict, to_dict
from pgi.errors import RunFolderError
from pgi.provenance import provenance

# What only says how long a run goes on, what it leaves behind, and how much memory it takes; of
# what a step computes, it changes at most the rounding.
_FREE_TO_CHANGE = (
    "steps",
    "minutes",
    "snapshot_steps",
    "keep_checkpoints",
    "milestone_steps",
    "milestone_hours",
    "attention_megabytes",
)

# Besides the milestones'.
_KEPT_PICTURES = 50


class RunFolder:
    """The files of one run.

    Args:
        path: of the folder; made when the run is begun.
    """

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

    def begin(self, config: ExperimentConfig, images: Mapping[str, Any] | None = None) -> None:
        """Makes the folder, or takes it up again.

        Args:
            config: of the run.
            images: what tells the images that it trains on and validates with from others, as
                plain values; another order of them would make it another run.

        Raises:
            RunFolderError: the folder holds a run of another config or other images, or other
                files.
        """
        images = dict(images or {})
        if self._config.exists():
            self._refuse_other(config, images)
        elif self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is no folder")
        # What a kill at this place leaves behind is no other's.
        elif self.path.exists() and {p.name for p in self.path.iterdir()} - {".config.json.part"}:
            raise RunFolderError(f"{self.path} holds other files and no run (no config.json)")
        self.path.mkdir(parents=True, exist_ok=True)
        description = {
            "config": to_dict(config),
            "images": images,
            **provenance(),
        }
        write_atomically(self._config, json.dumps(description, indent=2).encode() + b"\n")
        self.samples.mkdir(exist_ok=True)
        self.milestones.mkdir(exist_ok=True)

    def read_config(self) -> ExperimentConfig:
        """The config that the run was last begun with.

        Raises:
            RunFolderError: there is no readable config.
        """
        description = self.read_description()
        try:
            return from_dict(_upgraded(description["config"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"{self.path} is no run folder: {error}") from error

    def read_description(self) -> dict[str, Any]:
        """All that stands in config.json.

        Raises:
            RunFolderError: there is no readable one.
        """
        try:
            return json.loads(self._config.read_bytes())
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path} is no run folder: {error}") from error

    def _refuse_other(self, config: ExperimentConfig, images: dict[str, Any]) -> None:
        theirs, ours = to_dict(self.read_config()), to_dict(config)
        theirs["images"] = self.read_description().get("images", images)
        ours["images"] = images
        for key in _FREE_TO_CHANGE:
            if key != "steps" or not _follows_steps(config):
                theirs["train"].pop(key), ours["train"].pop(key)
        different = differences(theirs, ours)
        if different:
            raise RunFolderError(
                f"{self.path} holds another run (its own values first):\n  "
                + "\n  ".join(different)
                + "\nGive what is the run's own to continue it, or another folder: --workdir=... "
                "(make train ARGS=--workdir=...)"
            )

    def record_divergence(self, step: int, reason: str) -> None:
        """Keeps that the training diverged after a step, and how."""
        content = json.dumps({"step": step, "reason": reason}, indent=2)
        write_atomically(self._divergence, content.encode() + b"\n")

    def read_divergence(self) -> dict[str, Any] | None:
        """The step and the reason that were recorded, if any."""
        return json.loads(self._divergence.read_bytes()) if self._divergence.exists() else None

    def forget_divergence(self) -> None:
        """Takes the record away: the run is tried again."""
        self._divergence.unlink(missing_ok=True)

    def append_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line of `{"step": ..., name: value, ...}`."""
        line = json.dumps({"step": step, **values})
        with open(self._metrics, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All whole lines, oldest first."""
        if not self._metrics.exists():
            return []
        lines = []
        for line in self._metrics.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:  # The line that a killed run was writing.
                break
        return lines

    def forget_after(self, step: int) -> None:
        """Drops metrics and pictures of steps that a continued run will take again."""
        kept = [json.dumps(line) for line in self.read_metrics() if line["step"] <= step]
        write_atomically(self._metrics, "".join(line + "\n" for line in kept).encode())
        for taken, picture in self._pictures():
            if taken > step:
                picture.unlink()

    def newest_checkpoint(self) -> str | None:
        """The latest checkpoint, as TensorFlow names it; None if there is none yet."""
        import tensorflow as tf  # As in provenance.

        return tf.train.latest_checkpoint(str(self.checkpoints))

    def milestone_steps(self) -> list[int]:
        """The steps whose checkpoints are kept for good, in ascending order."""
        files = self.milestones.glob("step-*.index")
        return sorted(int(path.stem.partition("-")[2]) for path in files)

    def write_picture(self, step: int, content: bytes, suffix: str) -> None:
        """Writes a sample picture; drops old ones, but for the newest 50 and the milestones'.

        Args:
            step: when it was made.
            content: of the file.
            suffix: ".png" or ".jpg".
        """
        write_atomically(self.samples / f"step_{step:07d}{suffix}", content)
        kept = self.milestone_steps()
        for taken, path in self._pictures()[:-_KEPT_PICTURES]:
            if taken not in kept:
                path.unlink()

    def picture(self, step: int) -> Path | None:
        """The sample picture of a step, if there is one."""
        return dict(self._pictures()).get(step)

    def _pictures(self) -> list[tuple[int, Path]]:
        """Steps and their sample pictures, in the order of the steps."""
        pictures = (p for p in self.samples.glob("step_*") if p.suffix in (".png", ".jpg"))
        return sorted((int(path.stem.partition("_")[2]), path) for path in pictures)


def _upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """A config as earlier versions wrote it, with the fields of this one."""
    loss, train = dict(config.get("loss", {})), dict(config.get("train", {}))
    if "adversarial_warmup_steps" in loss:
        share = loss.pop("adversarial_warmup_steps") / train["steps"]
        loss["adversarial_warmup"] = min(share, 1.0)
    train.setdefault("epsilon", 1e-7)  # Keras's own.
    # Then, the average replaced the weights: there is none beside them.
    if train.pop("ema_overwrite_frequency", None) is not None:
        train["ema_momentum"] = 0.0
    return {**config, "loss": loss, "train": train}


def _follows_steps(config: ExperimentConfig) -> bool:
    """Whether what a step computes depends on how many there will be."""
    train = config.train
    return (
        train.schedule != "joint"
        or train.learning_rate_schedule != "constant"
        or config.loss.adversarial_warmup > 0
    )
