"""Decoding and encoding PNG and JPEG files with TensorFlow ops, for served models.

Errors name the element of the batch and the rule that it breaks. TensorFlow's decoders raise errors
that name neither, so they run inside a dataset that ignores errors.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from pgi.images import complete

# Includes the first chunk's type, IHDR, so that the bytes that follow are the image's size.
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_JPEG = b"\xff\xd8\xff"


def require(
    value: tf.Tensor, name: tf.Tensor | str, rule: str, holds: tf.Tensor, *got: tf.Tensor | str
) -> tf.Tensor:
    """The value, or an InvalidArgumentError "`name` must be `rule`, got `got`" unless `holds`.

    Args:
        value: returned; what is computed from it waits for the check.
        name: string `[]`.
        rule: what the named argument must be.
        holds: bool `[]`.
        *got: strings `[]` and numbers `[]`, joined.
    """
    parts = [x if isinstance(x, str) or x.dtype == tf.string else tf.as_string(x) for x in got]
    message = tf.strings.join([name, f" must be {rule}, got ", *parts])
    with tf.control_dependencies([tf.debugging.Assert(holds, [message])]):
        return tf.identity(value)


def require_megapixels(
    value: tf.Tensor, name: tf.Tensor | str, sides: tf.Tensor, max_megapixels: float
) -> tf.Tensor:
    """As `require`, that an image of these sides, int32 `[2]`, H and W, is not too large."""
    # In float64 the limit itself passes, whatever it is.
    megapixels = tf.reduce_prod(tf.cast(sides, tf.float64)) / 1e6
    rule = f"of at most {max_megapixels:g} megapixels"
    # Not rounded to two places: 13.003 would be "13.00", which is at most 13.
    got = tf.as_string(megapixels, shortest=True), " (", *width_by_height(sides), ")"
    return require(value, name, rule, megapixels <= max_megapixels, *got)


def width_by_height(sides: tf.Tensor) -> tuple[tf.Tensor | str, ...]:
    """H and W, int32 `[2]`, as part of a message: "W x H"."""
    return sides[1], " x ", sides[0]


def image_sides(
    content: tf.Tensor, name: tf.Tensor, max_megapixels: float, most_bits: int
) -> tf.Tensor:
    """Height and width of a PNG or JPEG file, int32 `[2]`, from its header alone.

    Args:
        content: string `[]`, the file's bytes.
        name: string `[]`, the file's name in errors, such as "image_bytes[2]".
        max_megapixels: larger images are rejected.
        most_bits: files of more bits per channel are rejected.
    """
    png = _begins_with(content, _PNG)
    known, length = png | _begins_with(content, _JPEG), tf.strings.length(content)
    content = require(
        content, name, "a PNG or JPEG file", known, length, " bytes of something else"
    )
    header = _unless_damaged(lambda x: _header(x, png), content, tf.zeros([3], tf.int32))
    sides, bits = header[:2], header[2]
    readable = tf.reduce_all(sides > 0)  # As int32; a PNG can claim more than it can have.
    sides = require(sides, name, "undamaged", readable, "a header that cannot be read")
    rule = f"of at most {most_bits} bits per channel"
    sides = require(sides, name, rule, bits <= most_bits, bits)
    return require_megapixels(sides, name, sides, max_megapixels)


def decode_image(content: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
    """The pixels of a PNG or JPEG file of 8 bits per channel, without applying EXIF.

    Channels are kept, except that palettes and CMYK become RGB (or RGBA). A single transparent
    colour of RGB or grey becomes opaque.

    Args:
        content: string `[]`, the file's bytes, which `image_sides` has accepted.
        name: string `[]`, the file's name in errors.

    Returns:
        uint8 `[H, W, C]`, C of 1 (grey), 2 (grey and alpha), 3 or 4.
    """
    return _decode(content, name, 0)


def decode_mask(content: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
    """The same as grey, uint8 `[H, W]`. Of 16 bits the higher 8 are used; alpha is ignored."""
    return tf.squeeze(_decode(content, name, 1), 2)


def rgb_of(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 `[H, W, C]` from `decode_image` to RGB, `[H, W, 3]`."""
    grey = tf.shape(pixels)[2] < 3
    rgb = tf.cond(grey, lambda: tf.tile(pixels[..., :1], [1, 1, 3]), lambda: pixels[..., :3])
    return tf.ensure_shape(rgb, [None, None, 3])


def encode_filled(pixels: tf.Tensor, filled: tf.Tensor, hole: tf.Tensor) -> tf.Tensor:
    """The image with its hole filled, as a PNG file with the same channels.

    Alpha is kept. If all known pixels are grey, so is the result.

    Args:
        pixels: from `decode_image`.
        filled: uint8 `[H, W, 3]`; used in the hole only.
        hole: bool `[H, W]`.

    Returns:
        string `[]`.
    """
    red, green, blue = tf.unstack(rgb_of(pixels), axis=-1)
    grey = tf.reduce_all(hole | ((red == green) & (green == blue)))
    filled = tf.cond(
        grey,
        lambda: tf.tile(tf.image.rgb_to_grayscale(filled), [1, 1, 3]),
        lambda: filled,
    )
    channels = tf.shape(pixels)[2]
    colours = tf.where(channels < 3, 1, 3)
    new = tf.concat([filled[..., :colours], pixels[..., colours:]], axis=-1)
    return tf.io.encode_png(complete(pixels, new, tf.cast(hole, tf.float32)[..., None]))


def _decode(content: tf.Tensor, name: tf.Tensor, channels: int) -> tf.Tensor:
    def pixels(content: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            _begins_with(content, _PNG),
            lambda: tf.io.decode_png(content, channels),
            # The default is faster, but differs from other decoders.
            lambda: tf.io.decode_jpeg(content, channels, dct_method="INTEGER_ACCURATE"),
        )

    decoded = _unless_damaged(pixels, content, tf.zeros([0, 0, 1], tf.uint8))
    got = "pixels that cannot be decoded"
    return require(decoded, name, "undamaged", tf.size(decoded) > 0, got)


def _begins_with(content: tf.Tensor, magic: bytes) -> tf.Tensor:
    # `substr` of a shorter string is that string.
    return tf.strings.substr(content, 0, len(magic)) == magic


def _header(content: tf.Tensor, png: tf.Tensor) -> tf.Tensor:
    """Height, width and bits per channel, int32 `[3]`."""

    def of_png() -> tf.Tensor:
        sides = tf.io.decode_raw(tf.strings.substr(content, 16, 8), tf.int32, little_endian=False)
        bits = tf.io.decode_raw(tf.strings.substr(content, 24, 1), tf.uint8)
        return tf.concat([sides[::-1], tf.cast(bits, tf.int32)], axis=0)

    def of_jpeg() -> tf.Tensor:
        return tf.concat([tf.io.extract_jpeg_shape(content)[:2], [8]], axis=0)

    return tf.ensure_shape(tf.cond(png, of_png, of_jpeg), [3])


def _unless_damaged(
    read: Callable[[tf.Tensor], tf.Tensor], content: tf.Tensor, otherwise: tf.Tensor
) -> tf.Tensor:
    """The result of `read`, or `otherwise` if it raises an error."""
    results = tf.data.Dataset.from_tensors(content).map(read).ignore_errors(log_warning=False)
    shape = tf.TensorShape([None] * otherwise.shape.rank)
    otherwise = tf.raw_ops.PlaceholderWithDefault(input=otherwise, shape=shape)
    return results.reduce(otherwise, lambda _, result: result)
