"""Datasets by name, each as photographs to train on and photographs for validation."""

from __future__ import annotations

from pathlib import Path

from data.hold_out import hold_out
from data.names import KNOWN, name_in_tfds
from data.samples import samples
from pgi.errors import RuleError
from pgi.training.reading import FileSource, ImageSource, find_images, listed_images


def load(name: str) -> tuple[ImageSource, ImageSource]:
    """The training and the validation photographs of a dataset.

    Of a folder or a list, every 20th image is held out for validation, at least one and at most
    100 images.

    Args:
        name: one of

            - "samples": the photographs that scikit-image ships;
            - "photos", "places2", "celeba_hq", "div2k": see the README in each one's folder; "/"
              and a name after it select another config ("places2/256", "photos/wide");
            - "folder:PATH": all images of a folder tree, in the order of their paths;
            - "flist:FILE": the images listed in a text file, one path a line, as DeepFillv2 takes
              them; "flist:FILE,FILE" gives one list for training and one for validation;
            - "tfds:NAME": any image dataset of TensorFlow Datasets, with its own splits; of several
              image features "tfds:NAME#FEATURE" takes one, "tfds:NAME#OUTER/INNER" a nested one.

    Returns:
        Training and validation photographs.

    Raises:
        RuleError: the name is unknown.
        NoUsableImageError: the place is missing or has no usable image.
    """
    if name == "samples":
        training = FileSource(samples.photographs("train"), keep=True)
        return training, FileSource(samples.photographs("validation"), keep=True)
    kind, _, place = name.partition(":")
    if kind == "folder" and place:
        return hold_out(find_images(place))
    if kind == "flist" and place:
        return _from_lists(place)
    if in_tfds := name_in_tfds(name):
        from data import prepared  # TFDS takes seconds to import.

        return prepared.sources(in_tfds, as_in_the_paper=in_tfds == name)
    raise RuleError(f'dataset must be one of {KNOWN}, got "{name}"')


def _from_lists(place: str) -> tuple[ImageSource, ImageSource]:
    for comma in (number for number, letter in enumerate(place) if letter == ","):
        lists = Path(place[:comma]).expanduser(), Path(place[comma + 1 :]).expanduser()
        if all(path.is_file() for path in lists):
            return listed_images(lists[0]), listed_images(lists[1])
    return hold_out(listed_images(place))
