"""Which feature of a dataset's examples is the photograph; TFDS's examples are nested dicts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from pgi.errors import RuleError


def image_feature(builder: tfds.core.DatasetBuilder, name: str = "") -> tuple[str, ...]:
    """The keys of a dataset's image feature, one for each level of nesting.

    Args:
        builder: of the dataset.
        name: of the feature, such as "left" or, if it is nested, "pair/left"; empty for "image" or,
            if the dataset has only one, that.

    Raises:
        RuleError: there is no such feature, there are several to choose from, or its values are not
            of 8 or 16 bits.
    """
    dataset, features = builder.info.full_name, image_features(builder)
    if not features:
        got = ", ".join(builder.info.features)
        raise RuleError(f"{dataset} must have an image feature, got {got}")
    names = {"/".join(keys): keys for keys in features}
    chosen = names.get(name) if name else default_feature(builder)
    if not chosen:
        raise RuleError(
            f"{dataset}'s image feature, after # in the dataset's name, must be one of "
            f"{', '.join(names)}, got {name or 'none'}"
        )
    kind = np.dtype(features[chosen].np_dtype)
    if kind not in (np.uint8, np.uint16):
        raise RuleError(
            f"{dataset}'s feature {'/'.join(chosen)} must be uint8 or uint16, got {kind.name}"
        )
    return chosen


def default_feature(builder: tfds.core.DatasetBuilder) -> tuple[str, ...] | None:
    """The keys of the image feature that is taken if none is named; None if that is unclear."""
    outer = [keys for keys in image_features(builder) if len(keys) == 1]
    if ("image",) in outer:
        return ("image",)
    return outer[0] if len(outer) == 1 else None


def image_features(
    builder: tfds.core.DatasetBuilder,
) -> dict[tuple[str, ...], tfds.features.Image]:
    """All image features of a dataset by their keys, those in sequences left out."""
    return dict(_images((), builder.info.features))


def _images(
    keys: tuple[str, ...], feature: tfds.features.FeatureConnector
) -> Iterator[tuple[tuple[str, ...], tfds.features.Image]]:
    if isinstance(feature, tfds.features.Image):
        yield keys, feature
    elif isinstance(feature, tfds.features.FeaturesDict):
        for key, inner in feature.items():
            yield from _images((*keys, key), inner)
