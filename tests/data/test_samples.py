"""The sample photographs are shipped, in colour, and no scene is on both sides."""

from __future__ import annotations

import hashlib
from itertools import combinations

import cv2
import numpy as np
import pytest
import skimage.data

from data.samples import samples
from data.samples.samples import photographs
from pgi.training.decoding import read_image

SPLITS = ("train", "validation")


def test_the_installed_scikit_image_ships_them_all():
    assert set(samples.SPLITS) == set(SPLITS)
    for split in SPLITS:
        paths = photographs(split)
        assert paths and [path.name for path in paths] == list(samples.SPLITS[split])
        assert all(path.is_file() for path in paths)


def test_they_are_the_images_that_scikit_image_means_by_these_names():
    shipped = {path.stem: path for split in SPLITS for path in photographs(split)}
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        np.testing.assert_array_equal(read_image(shipped[name]), getattr(skimage.data, name)())


@pytest.mark.parametrize(
    "path", photographs("train") + photographs("validation"), ids=lambda path: path.name
)
def test_each_is_a_colour_photograph_large_enough_to_cut_from(path):
    image = read_image(path)
    assert min(image.shape[:2]) >= 256
    some = image[::7, ::7]
    assert cv2.cvtColor(some, cv2.COLOR_RGB2HSV)[..., 1].mean() > 10  # Of 255; grey has 0.
    # More colours than a drawing needs or a palette has.
    assert len(np.unique(some.reshape(-1, 3), axis=0)) > 4 * 256


def test_no_photograph_is_on_both_sides():
    contents = [
        {hashlib.sha256(path.read_bytes()).digest() for path in photographs(split)}
        for split in SPLITS
    ]
    assert not contents[0] & contents[1]
    assert [len(split) for split in contents] == [len(photographs(split)) for split in SPLITS]


def test_photographs_that_look_alike_are_on_one_side():
    def look(path) -> np.ndarray:
        small = cv2.resize(read_image(path), (16, 16), interpolation=cv2.INTER_AREA).astype(float)
        return (small - small.mean()).ravel() / small.std()

    looks = {path.name: (split, look(path)) for split in SPLITS for path in photographs(split)}
    alike = [
        {one, other}
        for one, other in combinations(looks, 2)
        if np.mean(looks[one][1] * looks[other][1]) > 0.6
    ]
    # The motorcycle's two views are, so the measure works.
    assert {"motorcycle_left.png", "motorcycle_right.png"} in alike
    assert all(len({looks[name][0] for name in names}) == 1 for names in alike)


def test_a_scikit_image_that_lacks_some_is_an_error_that_names_them(tmp_path, monkeypatch):
    there, *missing = samples.SPLITS["validation"]
    (tmp_path / there).touch()
    monkeypatch.setattr(skimage.data, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(FileNotFoundError) as error:
        photographs("validation")
    message = str(error.value)
    assert missing and all(name in message for name in [*missing, str(tmp_path)])
    assert there not in message
