"""Datasets that TensorFlow Datasets (TFDS) prepares, with this project's builders or its own.

They are stored as ArrayRecord, TFDS's format with random access, so that shuffling and resuming
work as for image files, with any number of images (see `pgi.training.pipeline`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import operator
import os
import resource
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data.hold_out import held_out_count
from data.image_builder import ImageBuilder
from data.image_features import default_feature, image_feature, image_features
from data.names import PREPARED
from pgi.arrays import UInt8Array
from pgi.errors import NoUsableImageError, RuleError
from pgi.training.decoding import read_image
from pgi.training.reading import ImageSource

# Names of the split for validation, in order of preference.
_HELD_OUT = ("validation", "val", "test")


class ExampleSource(ImageSource):
    """Images of a prepared dataset; their keys are the split and their number in it.

    Args:
        builder: of a dataset that is already prepared.
        split: in TFDS's syntax, such as "train[100:]".
        keep: as for `ImageSource`.
        feature: as for `image_feature`.

    Raises:
        RuleError: as `image_feature`, or the dataset is stored without random access.
        NoUsableImageError: the split is empty.
    """

    def __init__(
        self, builder: tfds.core.DatasetBuilder, split: str, keep: bool = False, feature: str = ""
    ) -> None:
        super().__init__(keep)
        # ArrayRecord keeps up to 1,024 shards open, as many as Linux's default limit.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._feature = image_feature(builder, feature)
        chosen = f"#{feature}" if self._feature != default_feature(builder) else ""
        self._place = f"{builder.info.full_name}{chosen} {split}"
        decoders: dict[str, Any] = {}
        for *above, last in image_features(builder):
            inner = decoders
            for key in above:
                inner = inner.setdefault(key, {})
            inner[last] = tfds.decode.SkipDecoding()
        try:
            self._examples = builder.as_data_source(split=split, decoders=decoders)
        except NotImplementedError as error:
            folder = shlex.quote(str(builder.data_path))
            raise RuleError(
                f"{builder.data_path} must be stored with random access, got "
                f"{builder.info.file_format.value}. Remove it, so that it is prepared again, or "
                "convert it: .venv/bin/python -m tensorflow_datasets.scripts.convert_format "
                f"--dataset_version_dir={folder} --out_file_format=array_record"
            ) from error
        if not len(self):
            raise NoUsableImageError(f"{self._place} has no image")

    def __len__(self) -> int:
        return len(self._examples)

    def identity(self) -> str:
        return self._place

    def key(self, number: int) -> str:
        return f"{self._place} number {number}"

    def name(self, number: int) -> str:
        name = (self._examples[number].get("file_name") or b"").decode(errors="surrogateescape")
        return name or f"number {number}"

    def decode(self, number: int) -> UInt8Array:
        example = self._examples[number]
        image = functools.reduce(operator.getitem, self._feature, example)
        try:
            return read_image(io.BytesIO(image or b""))
        except OSError as error:
            name = (example.get("file_name") or b"").decode(errors="replace")
            raise OSError(f"{name}: {error}" if name else str(error)) from error


def sources(name: str, as_in_the_paper: bool = False) -> tuple[ExampleSource, ExampleSource]:
    """The training and the validation images of a dataset, which is prepared first if needed.

    Args:
        name: as `prepare` takes it.
        as_in_the_paper: whether to use the paper's splits where they differ from "train" and
            "validation": on Places2 the paper also trains on the official validation images
            (Section 4).

    Raises:
        RuleError: as `prepare`, or there is no split named train.
        NoUsableImageError: as `prepare`, or the first hundred images are all unusable.
    """
    builder, (_, _, feature) = prepare(name), name.partition("#")
    splits, keep = None, False
    if isinstance(builder, ImageBuilder):
        splits, keep = builder.PAPER_SPLITS if as_in_the_paper else None, builder.KEEP
    training, validation = (
        ExampleSource(builder, split, keep, feature) for split in splits or _splits(builder)
    )
    try:
        training.check_usable()
        validation.check_usable()
    except NoUsableImageError as error:
        again = f"Remove {builder.data_path} to prepare it again."
        raise NoUsableImageError(f"{error}. {again}") from error
    return training, validation


def prepare(
    name: str, manual_dir: str | Path | None = None, beam_options: Sequence[str] = ()
) -> tfds.core.DatasetBuilder:
    """Prepares a dataset if needed, and returns its builder.

    Args:
        name: of one of this project's or TFDS's datasets, with its config if that is not the
            default: "places2/256"; after "#" the feature, as for `image_feature`.
        manual_dir: folder of the archives that a user must download; None for TFDS's default.
        beam_options: pipeline options of Apache Beam, such as "runner=FlinkRunner"; if empty, the
            dataset is prepared in this process, except by builders of TFDS that require Beam.

    Raises:
        RuleError: there is no such dataset, it has no images, or Beam is not installed.
        NoUsableImageError: an archive is missing or broken, or TFDS cannot prepare the dataset.
    """
    root = tfds.core.Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    name, _, feature = name.partition("#")
    try:
        builder = _builder(name, root)
    except (ValueError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise RuleError(f'dataset must be one that TFDS knows, got "{name}": {reason}') from error
    image_feature(builder, feature)
    if builder.data_path.exists():
        return builder
    print(f"Preparing {builder.info.full_name} in {builder.data_path}; this happens once.")
    manual = tfds.core.Path(manual_dir or root / "downloads" / "manual").expanduser()
    config = tfds.download.DownloadConfig(
        manual_dir=manual, beam_options=_pipeline_options(beam_options)
    )
    try:
        with _nothing_left_by_failure(builder, Path(root)):
            if isinstance(builder, ImageBuilder):
                builder.on_beam = bool(beam_options)
                builder.fetch(Path(manual))
            builder.download_and_prepare(download_config=config, file_format="array_record")
    except NoUsableImageError as error:
        raise NoUsableImageError(f"{error} {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}") from error
    except OSError:
        raise
    except Exception as error:  # TFDS's builders and downloads raise many types.
        raise NoUsableImageError(f"{builder.info.full_name} cannot be prepared: {error}") from error
    return builder


@contextlib.contextmanager
def _nothing_left_by_failure(builder: tfds.core.DatasetBuilder, root: Path) -> Iterator[None]:
    """Removes the folders, if empty, and the note of a default config that TFDS makes at first."""
    own, downloads, note = root / builder.name, root / "downloads", ".config/metadata.json"
    above = [x for x in Path(builder.data_path).parents if own in x.parents]
    places = [*above, own / note, own / ".config", own, downloads / "extracted", downloads, root]
    new = [place for place in places if not place.exists()]
    try:
        yield
    except BaseException:
        for place in new:
            with contextlib.suppress(OSError):
                place.unlink() if place.is_file() else place.rmdir()
        raise


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
    folder, _, config = name.partition("/")
    if folder not in PREPARED:
        # A run's config may come from a stranger too, and evaluation reads the dataset it names.
        if tfds.core.naming.parse_builder_name_kwargs(name)[0].namespace:
            raise ValueError("a name with a namespace would download and run its builder")
        return tfds.builder(name, data_dir=root)
    module = importlib.import_module(f"data.{folder}.{folder}_dataset_builder")
    return module.Builder(config=config or None, data_dir=root)


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
