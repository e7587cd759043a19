"""Datasets that TensorFlow Datasets prepares: our builders and its own, as sources of images.

They are stored as ArrayRecord, TFDS's format with random access: image n is read without those
before it. So order and resume are what they are for files (see `pgi.pipeline`), and a run that is
continued costs nothing, whatever the number of images.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import UnidentifiedImageError

from data.datasets import PREPARED
from data.hold_out import held_out_count
from data.image_builder import ImageBuilder
from pgi.reading import MIN_SIDE, ImageSource, NoUsableImageError, read_image
from pgi.rules import RuleError

# What a dataset may call its held-out images; the first that there is.
_HELD_OUT = ("validation", "val", "test")
# What the paper trains on, where that is not the split of that name; and what is held out.
_PAPERS = {"places2": ("train+validation[100:]", "validation[:100]")}
# Few and large: decoding them at each step would cost as much as training.
_KEPT = ("photos",)


class ExampleSource(ImageSource):
    """Images of a prepared dataset; their keys name their place in it.

    Args:
        builder: of a dataset that is prepared with random access.
        split: in TFDS's syntax, such as "train[100:]".
        feature: which of the dataset's features is the image.
        keep: whether pixels stay in memory once read, as for `FileSource`.

    Raises:
        RuleError: the dataset is stored without random access.
        NoUsableImageError: the split is empty.
    """

    def __init__(
        self, builder: tfds.core.DatasetBuilder, split: str, feature: str, keep: bool = False
    ) -> None:
        super().__init__()
        self._place = f"{builder.info.full_name} {split}"
        self._feature = feature
        decoders = {feature: tfds.decode.SkipDecoding()}
        try:
            self._examples = builder.as_data_source(split=split, decoders=decoders)
        except NotImplementedError as error:
            raise RuleError(
                f"{builder.data_path} must be stored with random access, got "
                f"{builder.info.file_format.value}. Remove it, so that it is prepared anew, or "
                "convert it: .venv/bin/python -m tensorflow_datasets.scripts.convert_format "
                f"--dataset_version_dir={builder.data_path} --out_file_format=array_record"
            ) from error
        if not len(self):
            raise NoUsableImageError(f"{self._place} holds no image")
        self._read = functools.cache(self._decode) if keep else self._decode

    def __len__(self) -> int:
        return len(self._examples)

    def identity(self) -> str:
        return self._place

    def key(self, number: int) -> str:
        return f"{self._place} number {number}"

    def load(self, number: int) -> np.ndarray:
        return self._read(number)

    def _decode(self, number: int) -> np.ndarray:
        example = self._examples[number]
        try:
            image = read_image(io.BytesIO(example[self._feature]))
            height, width = image.shape[:2]
            if min(height, width) < MIN_SIDE:
                raise OSError(f"sides must be at least {MIN_SIDE} px, got {width} x {height}")
        except OSError as error:
            name = example.get("file_name", b"").decode()
            # Pillow would name the buffer.
            reason = "no image" if isinstance(error, UnidentifiedImageError) else error
            raise OSError(f"{name}: {reason}" if name else reason) from error
        return image


def sources(name: str, as_in_the_paper: bool = False) -> tuple[ExampleSource, ExampleSource]:
    """The training and the validation images of a dataset, which is prepared if it was not.

    Args:
        name: as `prepare` takes it.
        as_in_the_paper: whether Places2's official validation images are trained on too (section
            4), all but the first hundred.

    Raises:
        RuleError: as `prepare`, or it has no split or feature to train on.
        NoUsableImageError: as `prepare`, or its first hundred images are all unusable.
    """
    builder = prepare(name)
    feature = _image_feature(builder)
    keep = builder.name in _KEPT
    splits = _PAPERS.get(builder.name) if as_in_the_paper else None
    training, validation = (
        ExampleSource(builder, split, feature, keep) for split in splits or _splits(builder)
    )
    training.check_usable()
    validation.check_usable()
    return training, validation


def prepare(
    name: str, manual_dir: str | Path | None = None, beam_options: Sequence[str] = ()
) -> tfds.core.DatasetBuilder:
    """A dataset's builder; the dataset is prepared if it was not.

    Args:
        name: of one of ours or of any that TFDS knows, with its config if it is not the default
            one: "places2/256".
        manual_dir: where the archives are that a user must get; None for TFDS's own place.
        beam_options: Apache Beam's pipeline options, such as "runner=FlinkRunner"; none to prepare
            it in this process, but for TFDS's datasets that know no other way than Beam.

    Raises:
        RuleError: there is no such dataset, or Beam is wanted and not installed.
        NoUsableImageError: an archive is missing or broken.
    """
    root = tfds.core.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    try:
        builder = _builder(name, root)
    except (ValueError, AssertionError) as error:  # An unknown name or config; a version.
        reason = str(error).splitlines()[0]
        raise RuleError(f'dataset must be one that TFDS knows, got "{name}": {reason}') from error
    if not builder.data_path.exists():
        print(f"Preparing {builder.info.full_name} in {builder.data_path}; this happens once.")
        manual = tfds.core.Path(manual_dir or root / "downloads" / "manual").expanduser()
        if isinstance(builder, ImageBuilder):
            builder.fetch(Path(manual))
        config = tfds.download.DownloadConfig(
            manual_dir=manual, beam_options=_pipeline_options(beam_options)
        )
        builder.download_and_prepare(download_config=config, file_format="array_record")
    return builder


def _pipeline_options(options: Sequence[str]) -> Any:
    if not options:
        return None
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise RuleError(
            "Apache Beam must be installed for a pipeline's options: .venv/bin/python -m pip "
            f'install -c constraints.txt -e ".[beam]" ({error})'
        ) from error
    return PipelineOptions([f"--{option}" for option in options])


def _builder(name: str, root: tfds.core.Path) -> tfds.core.DatasetBuilder:
    ours, _, config = name.partition("/")
    if ours not in PREPARED:
        return tfds.builder(name, data_dir=root)
    module = importlib.import_module(f"data.{ours}.{ours}_dataset_builder")
    return module.Builder(config=config or None, data_dir=root)


def _image_feature(builder: tfds.core.DatasetBuilder) -> str:
    features = dict(builder.info.features)
    found = [key for key, kind in features.items() if isinstance(kind, tfds.features.Image)]
    if "image" in found or len(found) == 1:
        return "image" if "image" in found else found[0]
    raise RuleError(
        f'{builder.info.full_name} must have an image feature, one or named "image", got '
        f"{', '.join(found or features)}"
    )


def _splits(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    splits = builder.info.splits
    if "train" not in splits:
        raise RuleError(
            f"{builder.info.full_name} must have a split named train, got {', '.join(splits)}"
        )
    for name in _HELD_OUT:
        if name in splits:
            return "train", name
    count = held_out_count(splits["train"].num_examples)
    return f"train[:-{count}]", f"train[-{count}:]"
