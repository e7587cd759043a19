"""Filling holes with a trained pyramid: any image in, the same image out with its holes filled."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pgi.config import ExperimentConfig
from pgi.errors import RuleError, RunFolderError
from pgi.images import as_hole, complete, pyramids, to_float, to_uint8
from pgi.inference.restricted import complete_holes, complete_levels
from pgi.models import PyramidGenerator
from pgi.rules import check
from pgi.training.run_folder import RunFolder
from pgi.training.stages import stages

# Above it the mask is more likely to be the wrong way round than meant.
_MANY = 0.7


class LevelResult(NamedTuple):
    """A level's raw output and its completed image, uint8 `[H, W, 3]`."""

    refined: np.ndarray
    completed: np.ndarray


class Inpainter:
    """Fills holes in images of any size.

    Called as `result = inpainter(image, mask)`: `image` uint8 `[H, W, 3]`, RGB, or a batch
    `[N, H, W, 3]`; `mask` bool, True = hole, or uint8, above 127 = hole, `[H, W]` or `[H, W, 1]`,
    for a batch also `[N, H, W]` or `[N, H, W, 1]`. Returns uint8 of the image's shape.

    Pixels outside the hole come back unchanged, and what lies under the mask changes nothing. An
    image without a hole comes back as it is. Images larger than the training size run through the
    same levels at their own size, in memory that grows with their pixels (see
    `pgi.inference.restricted`); sizes that do not halve are mirrored at the right and bottom up to
    what does. Weights stay in memory from call to call, and nothing is compiled anew for another
    size.

    Args:
        model: built.
        origin: where its weights come from, for messages; `load` sets it.

    Raises:
        RuleError: in a call, an argument has another type or shape, the mask's size is not the
            image's, or the mask leaves no known pixel.

    Warns:
        UserWarning: in a call, a mask is more than 70 % hole: perhaps it is the wrong way round.

    Source: section 4 ("any resolution"). Departs from it: the mirroring is ours.
    """

    def __init__(self, model: PyramidGenerator, origin: str = "") -> None:
        self.model, self.origin = model, origin
        signature = [tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([None, None], tf.bool)]
        # Nothing in it needs AutoGraph, which would double the time of the first call.
        self._fill = tf.function(self.fill_tensors, input_signature=signature, autograph=False)
        self._levels = tf.function(self._every_level, input_signature=signature, autograph=False)
        self._fills = tf.function(self._fill_levels, input_signature=signature, autograph=False)

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        image = np.asarray(image)
        check("image", "uint8", image.dtype == np.uint8, str(image.dtype))
        fits = image.ndim in (3, 4) and image.shape[-1] == 3 and image.size > 0
        check("image", "[H, W, 3] or [N, H, W, 3] and not empty", fits, image.shape)
        batch = image if image.ndim == 4 else image[None]
        hole = as_hole(mask, image.shape[:-1])
        masks = hole if hole.ndim == 3 else hole[None]
        # All masks first: a batch is refused before any work is done for it.
        for number, part in enumerate(masks):
            _check_share(part, f"mask {number}" if len(masks) > 1 else "mask")
        filled = [
            self._fill(image, hole).numpy() if hole.any() else image
            for image, hole in zip(batch, np.broadcast_to(masks, batch.shape[:-1]))
        ]
        return np.stack(filled).reshape(image.shape)

    def every_level(self, image: np.ndarray, mask: np.ndarray) -> list[LevelResult]:
        """What each level makes of one image, coarsest first; computes the whole image.

        Args:
            image: uint8 `[H, W, 3]`.
            mask: as for a call.

        Returns:
            A level `k` below the highest has sides of H / 2**k and W / 2**k, rounded up.

        Raises:
            RuleError: as a call.

        Source: Figure 2. Departs from it: nothing.
        """
        levels = self._levels(*_checked(image, mask))
        pairs = zip(*(_cropped(images, image) for images in zip(*levels)))
        return [LevelResult(*pair) for pair in pairs]

    def completed_levels(self, image: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        """What a call returns, after the completed images of the lower levels.

        Costs no more than a call, but for lower levels that the result does not depend on (fusion
        "none").

        Args:
            image: uint8 `[H, W, 3]`.
            mask: as for a call.

        Returns:
            uint8 `[H / 2**k, W / 2**k, 3]`, rounded up, coarsest first. The last, of k = 0, is the
            call's result to the bit.

        Raises:
            RuleError: as a call.

        Source: Figure 2. Departs from it: nothing.
        """
        return _cropped(self._fills(*_checked(image, mask)), image)

    def _every_level(self, image: tf.Tensor, hole: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        outputs = self.model(pyramids(*self.padded(image, hole), len(self.model.levels)))
        return [(to_uint8(x.refined[0]), to_uint8(x.completed[0])) for x in outputs]

    def padded(self, image: tf.Tensor, hole: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`[1, H, W, 3]` in [-1, 1] and `[1, H, W, 1]`, mirrored up to what the levels halve."""
        multiple = 8 * 2 ** (len(self.model.levels) - 1)
        pixels = _mirrored(_mirrored(to_float(image), 0, multiple), 1, multiple)
        mask = _mirrored(_mirrored(tf.cast(hole, tf.float32), 0, multiple), 1, multiple)
        return pixels[None], mask[None, :, :, None]

    def fill_tensors(self, image: tf.Tensor, hole: tf.Tensor) -> tf.Tensor:
        """What a call computes, for a graph: nothing is checked.

        Args:
            image: uint8 `[H, W, 3]`.
            hole: bool `[H, W]`, True somewhere.

        Returns:
            uint8 `[H, W, 3]`.
        """
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        completed = complete_holes(self.model, *self.padded(image, hole))
        filled = to_uint8(completed[0, :height, :width])
        return complete(image, filled, tf.cast(hole, tf.float32)[:, :, None])

    def _fill_levels(self, image: tf.Tensor, hole: tf.Tensor) -> list[tf.Tensor]:
        """The completed images, the lower ones as they are padded."""
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        *lower, top = complete_levels(self.model, *self.padded(image, hole))
        filled = to_uint8(top[0, :height, :width])
        result = complete(image, filled, tf.cast(hole, tf.float32)[:, :, None])
        return [*(to_uint8(x[0]) for x in lower), result]


class SavedInpainter(Inpainter):
    """The same from a SavedModel that `pgi export` wrote; it gives the result alone.

    Args:
        path: of the folder that holds saved_model.pb.

    Raises:
        RunFolderError: the SavedModel is damaged or another program's.
        RuleError: as an `Inpainter`; and when levels are asked for, which it does not give.
    """

    def __init__(self, path: Path) -> None:
        self.origin = str(path)
        try:
            # Kept: functions alone would lose their variables.
            self._saved = tf.saved_model.load(str(path))
            self._predict = self._saved.signatures["predict"]
        except Exception as error:  # As in `load`.
            raise RunFolderError(f"{path} is no SavedModel of pgi, or damaged: {error}") from error

    def _fill(self, image: np.ndarray, hole: np.ndarray) -> tf.Tensor:
        mask = np.where(hole, np.uint8(255), np.uint8(0))[None, :, :, None]
        return self._predict(image=tf.constant(image[None]), mask=tf.constant(mask))["image"][0]

    def _levels(self, image: np.ndarray, hole: np.ndarray) -> list[tuple[tf.Tensor, tf.Tensor]]:
        raise RuleError("levels must be asked of a run folder or a checkpoint, got a SavedModel")

    def completed_levels(self, image: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        """The highest level alone: a call's result."""
        return [self(image, mask)]


def load(path: str | Path) -> Inpainter:
    """A trained model, ready to fill holes.

    Args:
        path: a run folder, whose newest checkpoint is taken; one of its checkpoints
            (`runs/places2/best/step-5000`); or a SavedModel that `pgi export` wrote, or the
            folder of its versions, whose newest is taken.

    Raises:
        RunFolderError: there is no run or no checkpoint, or the checkpoint does not fit.

    Warns:
        UserWarning: the training has not reached the highest level yet.

    A checkpoint's moving average is taken if it has one. The inpainter's `origin` says what was.
    """
    saved_model = _saved_model(Path(path))
    if saved_model is not None:
        return SavedInpainter(saved_model)
    checkpoint = find_checkpoint(path)
    config = RunFolder(checkpoint.parent.parent).read_config()
    model = PyramidGenerator(**dataclasses.asdict(config.model))
    model.build_networks()
    try:
        which = generators_in(checkpoint)
        # Partial: what only training needs stays in the file.
        restored = tf.train.Checkpoint(**{which: model.sub_generators}).restore(str(checkpoint))
        restored.expect_partial().assert_existing_objects_matched()
    except Exception as error:  # TensorFlow raises another kind for every kind of damage.
        raise RunFolderError(
            f"{checkpoint} is damaged or does not fit its run's config: {error}"
        ) from error
    origin = f"{checkpoint}{', moving average' * which.startswith('averaged')}"
    untrained = _untrained_levels(config, checkpoint)
    if untrained:
        warnings.warn(
            f"{origin}: level {', '.join(map(str, untrained))} of the pyramid was not trained yet, "
            "so that its result is noise; continue the training",
            stacklevel=2,
        )
    return Inpainter(model, origin)


def _untrained_levels(config: ExperimentConfig, checkpoint: Path) -> list[int]:
    """Levels that the stages up to a checkpoint, whose name ends with its step, did not train."""
    step = checkpoint.name.rpartition("-")[2]
    if not step.isdecimal():
        return []
    trained = {n for stage in stages(config) if stage.first_step < int(step) for n in stage.levels}
    return [level for level in range(len(config.model.levels)) if level not in trained]


def generators_in(checkpoint: Path) -> str:
    """What a checkpoint calls the sub-generators to use: the moving averages if it has them."""
    names = {name.partition("/")[0] for name, _ in tf.train.list_variables(str(checkpoint))}
    averaged = "averaged_sub_generators"
    return averaged if averaged in names else "sub_generators"


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint that a path means, as TensorFlow names it, without a suffix.

    Args:
        path: a run folder, whose newest is taken, or one of its checkpoints.

    Raises:
        RunFolderError: there is no run or no checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        run = RunFolder(path)
        run.read_config()
        newest = run.newest_checkpoint()
        if newest is None:
            raise RunFolderError(f"{path} holds no checkpoint yet")
        return Path(newest)
    checkpoint = path.with_suffix("") if path.suffix == ".index" else path
    if not checkpoint.with_name(f"{checkpoint.name}.index").is_file():
        raise RunFolderError(f"{path} is neither a run folder nor a checkpoint nor a SavedModel")
    return checkpoint


def _saved_model(path: Path) -> Path | None:
    """The SavedModel that a path means, if any: itself, or the newest version in it."""
    versions = sorted((x for x in path.glob("*") if x.name.isdecimal()), key=lambda x: int(x.name))
    for folder in (path, *reversed(versions)):
        if (folder / "saved_model.pb").is_file():
            return folder
    return None


def _checked(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One image, and its mask as `[H, W]` bool."""
    image = np.asarray(image)
    fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1:] == (3,)
    check("image", "uint8 [H, W, 3]", fits and image.size > 0, f"{image.dtype} {image.shape}")
    hole = as_hole(mask, image.shape[:-1])
    _check_share(hole, "mask")
    return image, hole


def _cropped(levels: Sequence[tf.Tensor], image: np.ndarray) -> list[np.ndarray]:
    """Levels, coarsest first, without what they were padded by for this image."""
    height, width = np.shape(image)[:2]
    sizes = [(-(-height // 2**k), -(-width // 2**k)) for k in range(len(levels))]
    return [x.numpy()[:high, :wide] for x, (high, wide) in zip(levels, reversed(sizes))]


def _check_share(hole: np.ndarray, name: str) -> None:
    share = hole.mean()
    check(name, "less than all hole: what is known is filled in from", share < 1, "all hole")
    if share > _MANY:
        warnings.warn(
            f"{name} is {share:.0%} hole; is it the wrong way round? White, or True, is hole",
            stacklevel=3,
        )


def _mirrored(x: tf.Tensor, axis: int, multiple: int) -> tf.Tensor:
    """Longer along an axis, up to the next multiple, by reflection about the last element."""
    size = tf.shape(x)[axis]
    index = tf.range(-(-size // multiple) * multiple)
    period = tf.maximum(2 * (size - 1), 1)
    index = index % period
    return tf.gather(x, tf.minimum(index, period - index), axis=axis)
