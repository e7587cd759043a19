"""What `DATASET` may be, and which photographs of it are held out for validation."""

from __future__ import annotations

from pathlib import Path

from data.hold_out import hold_out
from data.samples import samples
from pgi.errors import RuleError
from pgi.training.reading import FileSource, ImageSource, find_images, listed_images

PREPARED = ("photos", "places2", "celeba_hq", "div2k")
KNOWN = f"samples, {', '.join(PREPARED)}, folder:PATH, flist:FILE, tfds:NAME"


def load(name: str) -> tuple[ImageSource, ImageSource]:
    """The training and the validation photographs of a dataset.

    Of a folder and of a list, every 20th image, but at least one and at most 100, is held out.

    Args:
        name: one of

            - "samples": the photographs that scikit-image ships;
            - "photos", "places2", "celeba_hq", "div2k": see the README in each one's folder; with
              "/" and a name, another config of it ("places2/256");
            - "folder:PATH": all images of a folder tree, in the order of their paths;
            - "flist:FILE": the images that a text file names, a path a line, as DeepFill's
              lists; "flist:FILE,FILE" names those for training and those for validation;
            - "tfds:NAME": any image dataset of TensorFlow Datasets, with its own splits.

    Returns:
        Training and validation photographs.

    Raises:
        RuleError: the name is unknown.
        NoUsableImageError: what was named is missing or holds no usable image.
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


def name_in_tfds(name: str) -> str | None:
    """What TFDS calls a dataset of this name, or None if it is none that TFDS prepares."""
    if name.partition("/")[0] in PREPARED:
        return name
    return name.removeprefix("tfds:") if name.startswith("tfds:") and name != "tfds:" else None


def _from_lists(place: str) -> tuple[ImageSource, ImageSource]:
    for comma in (number for number, letter in enumerate(place) if letter == ","):
        lists = Path(place[:comma]).expanduser(), Path(place[comma + 1 :]).expanduser()
        if all(path.is_file() for path in lists):
            return listed_images(lists[0]), listed_images(lists[1])
    return hold_out(listed_images(place))
