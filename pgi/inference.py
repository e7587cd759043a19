"""Filling holes with a trained pyramid: any image in, the same image out with its holes filled."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pgi.images import as_hole, complete, pyramids, to_float, to_uint8
from pgi.models import PyramidGenerator
from pgi.models.restricted import complete_holes
from pgi.rules import check
from pgi.run_folder import RunFolder, RunFolderError

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
    `pgi.models.restricted`); sizes that do not halve are mirrored at the right and bottom up to
    what does. Weights stay in memory from call to call, and nothing is compiled anew for another
    size.

    Args:
        model: built.

    Raises:
        RuleError: in a call, an argument has another type or shape, the mask's size is not the
            image's, or the mask leaves no known pixel.

    Warns:
        UserWarning: in a call, a mask is more than 70 % hole: perhaps it is the wrong way round.

    Source: section 4 ("any resolution"). Departs from it: the mirroring is ours.
    """

    def __init__(self, model: PyramidGenerator) -> None:
        self.model = model
        signature = [tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([None, None], tf.bool)]
        # Nothing in it needs AutoGraph, which would double the time of the first call.
        self._fill = tf.function(self._filled, input_signature=signature, autograph=False)
        self._levels = tf.function(self._every_level, input_signature=signature, autograph=False)

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
        image = np.asarray(image)
        fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1:] == (3,)
        check("image", "uint8 [H, W, 3]", fits and image.size > 0, f"{image.dtype} {image.shape}")
        hole = as_hole(mask, image.shape[:-1])
        _check_share(hole, "mask")
        sides = [image.shape[:2]]
        for _ in self.model.levels[1:]:
            sides.append(tuple(-(-side // 2) for side in sides[-1]))
        return [
            LevelResult(*(x.numpy()[:height, :width] for x in pair))
            for pair, (height, width) in zip(self._levels(image, hole), reversed(sides))
        ]

    def _every_level(self, image: tf.Tensor, hole: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        outputs = self.model(pyramids(*self._padded(image, hole), len(self.model.levels)))
        return [(to_uint8(x.refined[0]), to_uint8(x.completed[0])) for x in outputs]

    def _padded(self, image: tf.Tensor, hole: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`[1, H, W, 3]` in [-1, 1] and `[1, H, W, 1]`, mirrored up to what the levels halve."""
        multiple = 8 * 2 ** (len(self.model.levels) - 1)
        pixels = _mirrored(_mirrored(to_float(image), 0, multiple), 1, multiple)
        mask = _mirrored(_mirrored(tf.cast(hole, tf.float32), 0, multiple), 1, multiple)
        return pixels[None], mask[None, :, :, None]

    def _filled(self, image: tf.Tensor, hole: tf.Tensor) -> tf.Tensor:
        """`[H, W, 3]` uint8 and `[H, W]` bool to `[H, W, 3]` uint8."""
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        completed = complete_holes(self.model, *self._padded(image, hole))
        filled = to_uint8(completed[0, :height, :width])
        return complete(image, filled, tf.cast(hole, tf.float32)[:, :, None])


def load(path: str | Path) -> Inpainter:
    """A trained model, ready to fill holes.

    Args:
        path: a run folder, whose newest checkpoint is taken, or one of its checkpoints
            (`runs/places2/checkpoints/step-5000`).

    Raises:
        RunFolderError: there is no run or no checkpoint, or the checkpoint does not fit.

    Source: ours. Departs from it: nothing.
    """
    path = Path(path)
    if path.is_dir():
        run = RunFolder(path)
        config = run.read_config()
        checkpoint = tf.train.latest_checkpoint(str(run.checkpoints))
        if checkpoint is None:
            raise RunFolderError(f"{path} holds no checkpoint yet")
    else:
        checkpoint = str(path.with_suffix("") if path.suffix == ".index" else path)
        if not Path(f"{checkpoint}.index").is_file():
            raise RunFolderError(f"{path} is neither a run folder nor a checkpoint")
        config = RunFolder(Path(checkpoint).parent.parent).read_config()
    model = PyramidGenerator(**dataclasses.asdict(config.model))
    model.build_networks()
    weights = tf.train.Checkpoint(sub_generators=model.sub_generators)
    try:
        # Partial: what only training needs stays in the file.
        weights.restore(checkpoint).expect_partial().assert_existing_objects_matched()
    except Exception as error:  # TensorFlow raises another kind for every kind of damage.
        raise RunFolderError(
            f"{checkpoint} is damaged or does not fit its run's config: {error}"
        ) from error
    return Inpainter(model)


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
