"""Prepared datasets give the published bytes, in an order that starts anywhere."""

from __future__ import annotations

import dataclasses
import io
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.splits import AbstractSplit, SplitInfo

import data
from data import prepared
from data.licences import licence
from data.places2.places2_dataset_builder import Builder
from data.prepared import ExampleSource
from experiments.configs import celeba_hq, places2
from pgi.config import ExperimentConfig, LossConfig, ModelConfig
from pgi.errors import NoUsableImageError, RuleError
from pgi.training import loop
from pgi.training.decoding import FORMATS
from pgi.training.pipeline import crops
from pgi.training.reading import FileSource, ImageSource
from pgi.training.run_folder import RunFolder
from tests.data.dummy_archives import ROOT, install

PLACES2 = ROOT / "places2" / "dummy_data"


def published(path: Path) -> dict[str, bytes]:
    """All images of an archive, read with nothing of ours."""
    if path.suffix == ".tar":
        with tarfile.open(path) as tar:
            members = [member for member in tar.getmembers() if member.isfile()]
            return {x.name: tar.extractfile(x).read() for x in members}  # type: ignore[union-attr]
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith((".png", ".jpg"))]
        return {name: archive.read(name) for name in names}


def stored(name: str, split: str) -> dict[str, bytes]:
    """File names and bytes of a prepared split."""
    decoders = {"image": tfds.decode.SkipDecoding()}
    examples = prepared.prepare(name).as_data_source(split=split, decoders=decoders)
    return {example["file_name"].decode(): example["image"] for example in examples}


def png(value: int, side: int = 32) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(np.full([side, side, 3], value, np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def store(
    home: Path,
    splits: Mapping[str, Sequence[bytes | tuple[bytes, ...]]],
    features: tuple[str, ...] = ("image",),
    file_format: str = "array_record",
) -> None:
    """A dataset named `dots` that somebody else has prepared; a tuple has an image a feature."""

    def example(images: bytes | tuple[bytes, ...]) -> dict[str, bytes]:
        each = [images] * len(features) if isinstance(images, bytes) else images
        return dict(zip(features, each))

    tfds.dataset_builders.store_as_tfds_dataset(
        name="dots",
        version="1.0.0",
        features=tfds.features.FeaturesDict(dict.fromkeys(features, tfds.features.Image())),
        split_datasets={
            split: [*enumerate(map(example, images))] for split, images in splits.items()
        },
        data_dir=home,
        file_format=file_format,
    )


def hold_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the dummy's four validation images, instead of a hundred."""
    monkeypatch.setattr(Builder, "PAPER_SPLITS", ("train+validation[1:]", "validation[:1]"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def values(source: ImageSource) -> list[int]:
    return [int(source.read(number)[0, 0, 0]) for number in range(len(source))]


# Bytes


@pytest.mark.parametrize(
    ("name", "split", "archive"),
    [
        ("places2", "train", "train_large_places365standard.tar"),
        ("places2", "validation", "val_large.tar"),
        ("places2/256", "train", "train_256_places365standard.tar"),
        ("div2k", "train", "DIV2K_train_HR.zip"),
        ("div2k", "validation", "DIV2K_valid_HR.zip"),
    ],
)
def test_the_stored_bytes_are_those_of_the_archive(
    name: str, split: str, archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = name.partition("/")[0]
    install(folder, tmp_path, monkeypatch)
    expected = published(ROOT / folder / "dummy_data" / archive)
    assert sorted(stored(name, split).values()) == sorted(expected.values())


def test_places2_is_named_by_category_and_celeba_hq_is_split_at_28000(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("places2", tmp_path, monkeypatch)
    install("celeba_hq", tmp_path, monkeypatch)
    assert "b/bow_window/indoor/00000002.jpg" in stored("places2", "train")
    numbers = {
        split: sorted(int(Path(name).stem) for name in stored("celeba_hq", split))
        for split in ("train", "validation")
    }
    assert numbers == {"train": [0, 1, 9999, 27999], "validation": [28000, 29999]}
    images = published(ROOT / "celeba_hq" / "dummy_data" / "CelebAMask-HQ.zip")
    for name, content in stored("celeba_hq", "train").items():
        assert content == images[name]


@pytest.mark.slow
def test_beam_makes_the_same_dataset_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("places2", tmp_path / "generator", monkeypatch)
    expected = [*stored("places2", "train").items()]
    install("places2", tmp_path / "beam", monkeypatch)
    made = []
    generate = Builder._generate_examples

    def spy(*arguments: Any) -> Any:
        made.append(generate(*arguments))
        return made[-1]

    monkeypatch.setattr(Builder, "_generate_examples", spy)
    prepared.prepare("places2", beam_options=["runner=DirectRunner"])
    assert [*stored("places2", "train").items()] == expected
    assert len(made) == 2 and all(isinstance(step, beam.PTransform) for step in made)


# Which images are for what


def test_places2_is_trained_on_as_in_the_paper_or_by_its_own_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("places2", tmp_path, monkeypatch)
    hold_one_out(monkeypatch)
    assert [len(source) for source in data.load("places2")] == [9, 1]
    assert [len(source) for source in data.load("tfds:places2")] == [6, 4]


def test_of_all_of_places2_a_hundred_validation_images_are_held_out() -> None:
    sizes = {"train": 1_803_460, "validation": 36_500}  # Published with Places365-Standard.
    infos = {name: SplitInfo(name, [size], num_bytes=0) for name, size in sizes.items()}
    training, held_out = (
        {x.splitname: range(sizes[x.splitname])[x.from_ : x.to] for x in parts}
        for parts in (AbstractSplit.from_spec(x).to_absolute(infos) for x in Builder.PAPER_SPLITS)
    )
    assert sum(map(len, training.values())) == 1_839_860
    assert held_out == {"validation": range(100)}
    assert not set(held_out["validation"]) & set(training["validation"])


@pytest.mark.parametrize("held_out", ["validation", "val", "test"])
def test_a_dataset_of_tfds_is_validated_with_what_it_holds_out(held_out: str, home: Path) -> None:
    store(home, {"train": [png(1), png(2)], held_out: [png(3)]})
    training, validation = data.load("tfds:dots")
    assert (sorted(values(training)), values(validation)) == ([1, 2], [3])


def test_of_a_dataset_of_one_split_every_twentieth_is_held_out(home: Path) -> None:
    store(home, {"train": [png(value) for value in range(60)]})
    training, validation = data.load("tfds:dots")
    assert len(validation) == 3
    assert sorted(values(training) + values(validation)) == list(range(60))


def test_the_image_feature_may_have_any_name_if_it_is_the_only_one(home: Path) -> None:
    store(home, {"train": [png(7)], "test": [png(8)]}, features=("photo",))
    assert values(data.load("tfds:dots")[0]) == [7]


def store_nested(home: Path) -> None:
    """A dataset named `pairs`, prepared by somebody else, of examples with three images."""
    image = tfds.features.Image
    inner = {"left": image(), "right": image(), "number": np.int64}
    tfds.dataset_builders.store_as_tfds_dataset(
        name="pairs",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"pair": inner, "mask": image(shape=(None, None, 1))}),
        split_datasets={
            "train": [
                (n, {"pair": {"left": png(n), "right": png(n + 50), "number": n}, "mask": grey(n)})
                for n in range(4)
            ]
        },
        data_dir=home,
        file_format="array_record",
    )


def grey(value: int) -> np.ndarray:
    return np.full([32, 32, 1], value + 100, np.uint8)


def test_of_several_image_features_one_is_chosen_by_name(home: Path) -> None:
    store(
        home,
        {"train": [(png(1), png(101)), (png(2), png(102))], "test": [(png(3), png(103))]},
        features=("left", "right"),
    )
    for name, offset in (("left", 0), ("right", 100)):
        training, validation = data.load(f"tfds:dots#{name}")
        assert sorted(values(training)) == [1 + offset, 2 + offset]
        assert values(validation) == [3 + offset]
    assert training.identity() == "dots/1.0.0#right train"
    assert training.key(1) == "dots/1.0.0#right train number 1"


def test_nested_image_features_are_chosen_by_their_path(home: Path) -> None:
    store_nested(home)
    for name, expected in (("pair/left", range(4)), ("pair/right", range(50, 54))):
        training, validation = data.load(f"tfds:pairs#{name}")
        assert sorted(values(training) + values(validation)) == [*expected]
    # As before there were names: the only one that is not nested.
    training, validation = data.load("tfds:pairs")
    assert sorted(values(training) + values(validation)) == [*range(100, 104)]


@pytest.mark.parametrize("feature", ["image", "photo"])
def test_the_name_of_the_feature_that_is_taken_anyway_changes_nothing(
    home: Path, feature: str
) -> None:
    store(home, {"train": [png(1), png(2)], "test": [png(3)]}, features=(feature,))
    without, named = data.load("tfds:dots"), data.load(f"tfds:dots#{feature}")
    assert [x.identity() for x in without] == ["dots/1.0.0 train", "dots/1.0.0 test"]
    assert [x.identity() for x in named] == [x.identity() for x in without]


def test_a_feature_that_is_missing_or_not_chosen_is_an_error_that_names_all(home: Path) -> None:
    store(home, {"train": [png(1)]}, features=("left", "right"))
    for name, got in (("dots", "none"), ("dots#image", "image"), ("dots#left/x", "left/x")):
        with pytest.raises(RuleError, match=f"must be one of left, right, got {got}$"):
            data.load(f"tfds:{name}")
    store_nested(home)
    with pytest.raises(RuleError, match=r"must be one of pair/left, pair/right, mask, got right$"):
        data.load("tfds:pairs#right")


def test_the_licence_of_a_features_images_is_that_of_the_dataset() -> None:
    assert licence("tfds:places2#image") == licence("places2/256") == licence("places2")
    assert licence("photos/wide") == licence("photos")
    assert licence("tfds:dots#places2") == licence("folder:/photos")


# Order


def test_a_dataset_gives_the_samples_that_its_files_would_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same crops, wherever one starts: what is behind the order is the number alone."""
    install("places2", tmp_path, monkeypatch)
    source = ExampleSource(prepared.prepare("places2"), "train")
    assert [source.name(n) for n in range(len(source))] == list(stored("places2", "train"))
    files = []
    for name, content in stored("places2", "train").items():
        files.append(tmp_path / name.replace("/", "_"))
        files[-1].write_bytes(content)

    def samples(source, first: int, count: int) -> np.ndarray:
        batches = crops(
            source, size=24, crop="random", batch_size=4, seed=3, first=first, count=count
        )
        return np.concatenate([images for images, _ in batches.as_numpy_iterator()])

    expected = samples(FileSource(files), 0, 20)
    np.testing.assert_array_equal(samples(source, 0, 20), expected)
    np.testing.assert_array_equal(samples(source, 13, 7), expected[13:])


def test_as_many_shards_as_there_are_can_be_open(home: Path) -> None:
    """Of a thousand shards each stays open, and a thousand files are what Linux allows at first."""
    tfds.dataset_builders.store_as_tfds_dataset(
        name="dots",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"image": tfds.features.Image()}),
        split_datasets={"train": [(value, {"image": png(value)}) for value in range(200)]},
        data_dir=home,
        file_format="array_record",
        download_config=tfds.download.DownloadConfig(num_shards=200),
    )
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, limits[1]))
    try:
        training, validation = data.load("tfds:dots")
        read = values(training) + values(validation)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sorted(read) == list(range(200))


# Errors


def test_unusable_images_are_replaced_by_the_next_and_named(home: Path) -> None:
    """Cut off, too small to be a photograph, no image."""
    damaged = [png(9)[:60], png(9, side=8), b"none"]
    store(home, {"train": [png(1), *damaged, png(2)], "test": [png(3)]})
    source, _ = data.load("tfds:dots")
    assert set(values(source)) == {1, 2}
    assert len(source.skipped) == 3
    assert all(key.startswith("dots/1.0.0 train number ") for key in source.skipped)
    assert sorted(source.skipped.values()) == [
        "both sides must be at least 32 px, got 8 x 8",
        "image file is truncated",
        f"no {', '.join(FORMATS)} image, or its header is damaged",
    ]


def test_an_unreadable_file_of_an_archive_is_named_as_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manual = install("places2", tmp_path, monkeypatch)
    content = published(PLACES2 / "val_large.tar")
    (manual / "val_large.tar").unlink()
    with tarfile.open(manual / "val_large.tar", "w") as tar:
        for number, (name, image) in enumerate(content.items()):
            member = tarfile.TarInfo(name)
            image = image[: len(image) // 2] if number == 2 else image
            member.size = len(image)
            tar.addfile(member, io.BytesIO(image))
    _, validation = data.load("tfds:places2")
    for number in range(len(validation)):
        validation.read(number)
    ((_, reason),) = validation.skipped.items()
    assert reason.startswith("Places365_val_00000003.jpg: ")


def test_a_dataset_of_icons_is_refused_at_once(home: Path) -> None:
    store(home, {"train": [png(1, side=28)] * 150, "test": [png(1, side=28)]})
    with pytest.raises(NoUsableImageError, match="the first 100 images are all unusable; dots"):
        data.load("tfds:dots")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:no_such_dataset", 'TFDS knows, got "no_such_dataset"'),
        ("places2/512", 'TFDS knows, got "places2/512"'),
        ("photos/large", 'TFDS knows, got "photos/large"'),
        (
            "tfds:huggingface:dots",
            r'got "huggingface:dots": a name with a namespace would download',
        ),
        ("tfds:dots:2.0.0", 'TFDS knows, got "dots:2.0.0"'),
    ],
)
def test_an_unknown_dataset_config_or_version_is_refused(
    name: str, message: str, home: Path
) -> None:
    store(home, {"train": [png(1)]})
    with pytest.raises(RuleError, match=message):
        data.load(name)


def test_a_dataset_without_images_or_training_images_is_refused(home: Path) -> None:
    store(home, {"test": [png(1)]})
    with pytest.raises(RuleError, match="must have a split named train, got test"):
        data.load("tfds:dots")
    shutil.rmtree(home / "dots")
    store(home, {"train": [png(1)]}, features=("left", "right"))
    with pytest.raises(RuleError, match="one of left, right, got none"):
        data.load("tfds:dots")


def test_a_dataset_without_random_access_is_refused_with_what_to_do(home: Path) -> None:
    store(home, {"train": [png(1)], "test": [png(2)]}, file_format="tfrecord")
    with pytest.raises(RuleError, match=r"random access, got tfrecord.*convert_format"):
        data.load("tfds:dots")


@pytest.mark.parametrize("name", ["places2", "div2k", "tfds:imagenet2012"])
def test_a_failure_leaves_what_was_there_before(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))
    for places in ([], [home], [home, home / "downloads" / "manual", home / "places2" / "other"]):
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(NoUsableImageError):
            data.load(name)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["places2", "div2k", "celeba_hq"])
def test_missing_archives_are_named_with_their_page_and_folder(name: str, home: Path) -> None:
    manual = home / "downloads" / "manual"
    page = {
        "places2": "http://places2.csail.mit.edu/download.html",
        "div2k": "https://data.vision.ee.ethz.ch/cvl/DIV2K/",
        "celeba_hq": "https://github.com/switchablenorms/CelebAMask-HQ",
    }[name]
    file = {"places2": "train_large", "div2k": "DIV2K_train_HR.zip", "celeba_hq": "CelebAMask-HQ"}
    for _ in range(2):  # No folder at all, and one of other things.
        with pytest.raises(NoUsableImageError) as error:
            data.load(name)
        for part in (str(manual), page, file[name]):
            assert part in str(error.value)
        manual.mkdir(parents=True, exist_ok=True)
        (manual / "notes.txt").write_text("nothing")
    assert not list(home.glob(f"{name}/**/*.array_record*"))


def test_archives_that_are_cut_off_or_others_are_refused_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manual = install("places2", tmp_path, monkeypatch)
    archive = manual / "train_large_places365standard.tar"
    whole = archive.read_bytes()
    archive.unlink()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        offsets = [member.offset for member in tar]
    broken = {
        "a page in its place": b"<html>" * 200,
        "within an image": whole[: offsets[-1] + 700],
        "between two images": whole[: offsets[-1]],
        "nothing": b"",
    }
    for how, content in broken.items():
        archive.write_bytes(content)
        with pytest.raises(NoUsableImageError) as error:
            data.load("places2")
        assert "http://places2.csail.mit.edu/download.html" in str(error.value), how
        left = [path for path in (tmp_path / "places2").rglob("*") if path.suffix != ".json"]
        assert not [path for path in left if path.is_file()], how
    archive.write_bytes(whole)
    assert len(data.load("tfds:places2")[0]) == 6


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["runner=DirectRunner"]])
def test_an_archive_of_another_release_is_refused(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manual = install("places2", tmp_path, monkeypatch)
    (manual / "val_large.tar").unlink()
    (manual / "val_large.tar").symlink_to(PLACES2 / "train_large_places365challenge.tar")
    with pytest.raises(NoUsableImageError, match="must have 4 images in its split validation, but"):
        prepared.prepare("places2", beam_options=options)


@pytest.mark.parametrize("where", [100, -22])  # In an image; in the last record.
def test_a_zip_that_is_damaged_within_is_refused_with_its_page(
    where: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manual = install("div2k", tmp_path, monkeypatch)
    archive = manual / "DIV2K_train_HR.zip"
    content = bytearray(archive.read_bytes())
    content[where] ^= 0xFF
    archive.unlink()
    archive.write_bytes(content)
    with pytest.raises(NoUsableImageError) as error:
        data.load("div2k")
    assert str(archive) in str(error.value)
    assert "https://data.vision.ee.ethz.ch/cvl/DIV2K/" in str(error.value)


def test_what_tfds_cannot_prepare_is_one_message(home: Path) -> None:
    with pytest.raises(NoUsableImageError, match=r"imagenet2012.* cannot be prepared: Manual dir"):
        data.load("tfds:imagenet2012")


def test_a_dataset_of_texts_is_refused_before_it_is_fetched(home: Path) -> None:
    with pytest.raises(RuleError, match=r"must have an image feature, got text, label"):
        data.load("tfds:imdb_reviews")


def test_images_of_floats_are_refused(home: Path) -> None:
    tfds.dataset_builders.store_as_tfds_dataset(
        name="dots",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=(None, None, 1), dtype=np.float32)}
        ),
        split_datasets={"train": [(0, {"image": np.zeros([40, 40, 1], np.float32)})]},
        data_dir=home,
        file_format="array_record",
    )
    with pytest.raises(RuleError, match="feature image must be uint8 or uint16, got float32"):
        data.load("tfds:dots")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("places2", "must hold train_large_places365standard.tar"),
        ("samples", "must be one of photos, places2, celeba_hq, div2k, tfds:NAME, got 'samples'"),
    ],
)
def test_the_program_says_what_it_needs_in_one_message(
    dataset: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "some.zip").touch()
    command = [sys.executable, "-m", "data.prepare", f"--dataset={dataset}"]
    result = subprocess.run(
        [*command, f"--manual_dir={tmp_path}"],
        cwd=ROOT.parent,
        env={**os.environ, "TFDS_DATA_DIR": str(tmp_path / "tfds")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and message in line


# Training


def shrunk(config: ExperimentConfig, steps: int) -> ExperimentConfig:
    """The config with two small levels, and nothing else changed."""
    return dataclasses.replace(
        config,
        model=ModelConfig(levels=(8, 16), width=4, discriminator_width=2),
        loss=LossConfig(level_weights=(10.0, 1.0)),
        data=dataclasses.replace(config.data, validation_images=4),
        train=dataclasses.replace(config.train, steps=steps, snapshot_steps=1),
    )


def weights(workdir: Path) -> Iterator[tuple[str, np.ndarray]]:
    reader = tf.train.load_checkpoint(str(workdir / "checkpoints"))
    for name in sorted(reader.get_variable_to_shape_map()):
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH" and "save_counter" not in name:
            yield name, reader.get_tensor(name)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_places2_trains_and_a_run_goes_on_to_the_bits_of_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("places2", tmp_path, monkeypatch)
    hold_one_out(monkeypatch)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for workdir, steps in ((unbroken, 2), (broken, 1), (broken, 2)):
        config = shrunk(places2.get_config(), steps)
        last = loop.train(config, *data.load(config.data.dataset), workdir)
    assert last["step"] == 2 and np.isfinite(last["train/loss"])
    for (name, ours), (_, theirs) in zip(weights(broken), weights(unbroken)):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_celeba_hq_trains_on_whole_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("celeba_hq", tmp_path, monkeypatch)
    config = shrunk(celeba_hq.get_config(), steps=2)
    last = loop.train(config, *data.load(config.data.dataset), tmp_path / "run")
    assert last["step"] == 2 and np.isfinite(last["train/loss"])
    assert RunFolder(tmp_path / "run").picture(2)
