"""The contract of everything that fills holes, and the checks that its implementations share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np

from pgi.arrays import AnyArray, BoolArray, UInt8Array
from pgi.images import as_hole
from pgi.rules import check, check_known, mask_warning


class Inpainter(Protocol):
    """Fills holes in images of any size.

    Called as `result = inpainter(image, mask)`: `image` uint8 `[H, W, 3]`, RGB, or a batch
    `[N, H, W, 3]`; `mask` bool, True = hole, or uint8, above 127 = hole, `[H, W]` or `[H, W, 1]`,
    for a batch also `[N, H, W]` or `[N, H, W, 1]`. Returns uint8 of the image's shape.

    Known pixels are unchanged, and pixels under the mask have no influence. An image without a hole
    comes back as it is. Nothing is compiled again for another size.

    Attributes:
        origin: which weights it uses, for messages.
        warning: a known weakness of these weights; None without one.

    Raises:
        RuleError: in a call, an argument has another type or shape, the mask has another size than
            the image, or the mask leaves no known pixel.

    Warns:
        UserWarning: in a call, see `pgi.rules.mask_warning`.
    """

    origin: str
    warning: str | None

    def __call__(self, image: UInt8Array, mask: AnyArray) -> UInt8Array: ...

    def completed_levels(self, image: UInt8Array, mask: AnyArray) -> list[UInt8Array]:
        """Completed images of the levels, coarsest first; no warnings.

        Args:
            image: one image, as for a call.
            mask: as for a call.

        Returns:
            uint8 `[H / 2**k, W / 2**k, 3]`, sides rounded up. The last, with k = 0, equals the
            result of a call to the bit. A model without lower levels' results returns it alone.

        Raises:
            RuleError: as a call.
        """


def checked(image: UInt8Array, mask: AnyArray) -> tuple[UInt8Array, BoolArray]:
    """One image, and its mask as bool `[H, W]`, after the checks of an `Inpainter`."""
    image = np.asarray(image)
    fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1:] == (3,)
    check("image", "uint8 [H, W, 3]", fits and image.size > 0, f"{image.dtype} {image.shape}")
    hole = as_hole(mask, image.shape[:-1])
    check_known(hole)
    return image, hole


def fill_batch(
    image: UInt8Array, mask: AnyArray, fill: Callable[[UInt8Array, BoolArray], UInt8Array]
) -> UInt8Array:
    """A call of an `Inpainter`.

    Args:
        image: one or a batch.
        mask: one for all images, or one for each.
        fill: fills one image, given its mask as bool `[H, W]` with a hole; called after all checks.
    """
    image = np.asarray(image)
    check("image", "uint8", image.dtype == np.uint8, str(image.dtype))
    fits = image.ndim in (3, 4) and image.shape[-1] == 3 and image.size > 0
    check("image", "[H, W, 3] or [N, H, W, 3] and not empty", fits, image.shape)
    batch = image if image.ndim == 4 else image[None]
    hole = as_hole(mask, image.shape[:-1])
    holes = hole if hole.ndim == 3 else hole[None]
    for number, part in enumerate(holes):
        name = f"mask {number}" if len(holes) > 1 else "mask"
        check_known(part, name)
        if warning := mask_warning(part, name):
            warnings.warn(warning, stacklevel=3)
    pairs = zip(batch, np.broadcast_to(holes, batch.shape[:-1]))
    filled = [fill(image, hole) if hole.any() else image for image, hole in pairs]
    result: UInt8Array = np.stack(filled).reshape(image.shape)
    return result
