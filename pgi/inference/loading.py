"""Trained models by their path."""

from __future__ import annotations

from pathlib import Path

from pgi import weights
from pgi.inference.inpainter import Inpainter
from pgi.inference.pyramid_inpainter import PyramidInpainter
from pgi.inference.saved_model_inpainter import SavedModelInpainter
from pgi.rules import DEFAULT_DEPTH, check
from pgi.training.checkpoints import load_model
from pgi.training.run_folder import Checkpoint, RunFolder
from pgi.training.stages import stages
from pgi.training.weights_file import WeightsFile, find


def load(path: str | Path | None = None, depth: str | None = None) -> Inpainter:
    """A trained model, ready to fill holes.

    A SavedModel is a program, and loading it can run anything: load none from a stranger. A run
    folder, a checkpoint or a weights file is read as data only, whatever else is in the folder.

    Args:
        path: a run folder, for its newest checkpoint; a checkpoint, such as
            `runs/places2/best/step-5000`; a folder with a weights file; the name of weights that
            ship with the package; a SavedModel that `pgi export` wrote; or the folder of its
            versions, for the newest one. None for the weights that ship with the package.
        depth: "paper" or "auto", see `PyramidInpainter`; None for "auto". That of a SavedModel was
            chosen by its export.

    Raises:
        RuleError: a depth for a SavedModel, or an unknown one.
        RunFolderError: there is no run or no checkpoint, or it cannot be loaded; or no weights ship
            with this installation.
    """
    path = weights.located(path)
    saved = None if RunFolder.around(path) else _saved_model(path)
    if saved:
        check("depth", f"unset for the SavedModel {saved}: its export chose it", not depth, depth)
        return SavedModelInpainter(saved)
    return load_checkpoint(find(path), depth or DEFAULT_DEPTH)


def _saved_model(path: Path) -> Path | None:
    """The folder's own SavedModel or its newest version's; None without one."""
    numbered = (x for x in path.glob("*") if x.name.isdecimal())
    for folder in (path, *sorted(numbered, key=lambda x: int(x.name), reverse=True)):
        if (folder / "saved_model.pb").is_file():
            return folder
    return None


def load_checkpoint(checkpoint: Checkpoint, depth: str = "paper") -> PyramidInpainter:
    """The model of a checkpoint or weights file, with its weights' moving average if there is one.

    The inpainter warns if training has not reached the highest level yet.

    Raises:
        RunFolderError: the checkpoint is damaged or does not fit its run's config.
    """
    model, averaged = load_model(checkpoint)
    if isinstance(checkpoint, WeightsFile):
        origin = checkpoint.describe()
    else:
        origin = f"{checkpoint}, moving average" if averaged else str(checkpoint)
    untrained = _untrained_levels(checkpoint)
    warning = (
        f"{origin}: level {', '.join(map(str, untrained))} of the pyramid is not trained yet, so "
        "its result is noise; continue the training"
    )
    return PyramidInpainter(model, origin, warning if untrained else None, depth)


def _untrained_levels(checkpoint: Checkpoint) -> list[int]:
    config, step = checkpoint.run.read_config(), checkpoint.step
    if step is None or checkpoint.run.imported():
        return []
    trained = {n for stage in stages(config) if stage.first_step < step for n in stage.levels}
    return [level for level in range(len(config.model.levels)) if level not in trained]
