"""New colours into a picture's hole, in the mode that the picture is stored in."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pgi.errors import PictureError


def alpha_of(image: Image.Image) -> np.ndarray | None:
    """Opacity from an alpha channel, a palette's or a transparent colour, if there is one.

    Returns:
        `[H, W]` uint8, or None for a picture that knows no transparency.
    """
    if "A" in image.getbands():
        return np.asarray(image.getchannel("A"))
    if "transparency" in image.info:
        return np.asarray(image.convert("RGBA").getchannel("A"))
    return None


def fill_hole(image: Image.Image, rgb: np.ndarray, hole: np.ndarray, opaque: bool) -> Image.Image:
    """Replaces the colours of a hole.

    Palettes stay as they are: each pixel takes the nearest of their colours. Black and white takes
    the nearer of both. RGB that is grey wherever it is known, which is how WebP stores grey, stays
    grey. Alpha is kept, also a palette's and that of a transparent colour.

    Args:
        image: `H` by `W`, of mode 1, L, LA, P, RGB, RGBA or CMYK.
        rgb: `[H, W, 3]` uint8; only its hole is used.
        hole: `[H, W]` bool.
        opaque: whether filled pixels become opaque instead of keeping their alpha.

    Returns:
        A new image of the same mode. Pixels outside the hole are bit-identical.

    Raises:
        PictureError: filled pixels are to be opaque, and no colour of the palette is.

    Source: ours. Departs from it: nothing.
    """
    colours = Image.fromarray(rgb)
    if image.mode in ("RGB", "RGBA") and _is_grey(np.asarray(image)[~hole]):
        colours = colours.convert("L").convert("RGB")
    alpha = alpha_of(image)
    if alpha is not None and opaque:
        alpha = np.full_like(alpha, 255)
    if image.mode == "P":
        new = Image.fromarray(_palette_indices(image, rgb, hole, alpha))
    elif alpha is None:
        new = colours.convert(image.mode, dither=Image.Dither.NONE)
    elif "A" in image.getbands():
        new = colours.convert(image.mode)
        new.putalpha(Image.fromarray(alpha))
    else:
        new = _with_transparent_colour(image, colours, alpha)
    filled = image.copy()
    filled.paste(new, mask=Image.fromarray(hole))
    return filled


def _is_grey(pixels: np.ndarray) -> bool:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return bool((red == green).all() and (green == blue).all())


def _palette_indices(
    image: Image.Image, rgb: np.ndarray, hole: np.ndarray, alpha: np.ndarray | None
) -> np.ndarray:
    """Of each pixel in the hole the nearest palette colour that has the pixel's alpha."""
    colours = np.reshape(image.getpalette() or [], [-1, 3])
    opacities = np.full(256, 255, np.uint8)
    transparency = image.info.get("transparency", b"")
    if isinstance(transparency, bytes):
        opacities[: len(transparency)] = np.frombuffer(transparency[:256], np.uint8)
    else:
        opacities[transparency] = 0
    indices = np.zeros(hole.shape, np.uint8)
    wanted = np.full(hole.shape, 255, np.uint8) if alpha is None else alpha
    for opacity in np.unique(wanted[hole]):
        usable = np.flatnonzero(opacities[: len(colours)] == opacity)
        if not len(usable):
            raise PictureError("the palette has no opaque colour to fill the hole with")
        pixels = hole & (wanted == opacity)
        indices[pixels] = usable[_nearest(rgb[pixels], colours[usable])]
    return indices


def _nearest(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """`[N, 3]` and `[K, 3]` uint8 to the `[N]` numbers of the nearest, the first of equals."""
    # float32 holds every integer that can occur; a product is far faster than 256 differences.
    palette = palette.astype(np.float32)
    norms = (palette**2).sum(axis=-1)
    blocks = np.array_split(colours, len(colours) // 4096 + 1)
    distances = (norms - 2 * block.astype(np.float32) @ palette.T for block in blocks)
    return np.concatenate([distance.argmin(axis=-1) for distance in distances])


def _with_transparent_colour(
    image: Image.Image, colours: Image.Image, alpha: np.ndarray
) -> Image.Image:
    """Where one colour stands for transparency, no other pixel may take it."""
    bilevel = image.mode == "1"
    new = colours.convert(image.mode, dither=Image.Dither.NONE)
    values = np.array(new.convert("L") if bilevel else new)
    key = np.uint8(np.asarray(image.info["transparency"]) & 255)
    taken = (values.reshape(*alpha.shape, -1) == key).all(axis=-1)
    values[taken] ^= np.uint8(255 if bilevel else 1)
    values[alpha == 0] = key
    return Image.fromarray(values).convert(image.mode, dither=Image.Dither.NONE)
