"""FID, LPIPS, P-IDS and U-IDS of every method's pictures, against the truth.

    python -m experiments.evaluate --run=runs/places2 --dataset=div2k --write-results=FOLDER
    python -m experiments.perceptual FOLDER

Reads FOLDER/truth/PLACE/0000.png and FOLDER/METHOD/PLACE/0000.png, where PLACE is a crop list and a
mask set, such as div2k_512_1a2b3c4d/center. Prints a table per place, writes them to
FOLDER/perceptual.md and the numbers to FOLDER/perceptual.csv. Needs the extra [perceptual] and two
files of weights: see docs/EVALUATION.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from absl import app
from tqdm import tqdm

from experiments import program
from experiments.report import cells
from pgi.arrays import UInt8Array
from pgi.atomic import write_atomically
from pgi.errors import RuleError
from pgi.evaluation.intervals import Estimate, estimate
from pgi.evaluation.perceptual import discriminative_scores, frechet_distance
from pgi.evaluation.perceptual_networks import Networks
from pgi.rules import check
from pgi.training.decoding import image_size, read_image

# Not imported: `pgi.evaluation.tasks` brings TensorFlow, which is not needed here.
TRUTH = "truth"
_COLUMNS = ["method", "place", "metric", "value", "low", "high", "n"]
_BATCH = 16
_NOTE = """\
FID and LPIPS: less is better. P-IDS and U-IDS: more is better, and 50 % is a result that cannot be
told from the truth. In brackets is a 95 % bootstrap interval over the {n:,} images."""
_TOO_FEW = """

**{n:,} images are too few for FID, P-IDS and U-IDS**, which compare whole sets and mean something
from about {enough:,} images on. With fewer, FID comes out too large, and P-IDS and U-IDS too small:
up to about 1,000 images can be separated from others by 2,048 features whatever they show. Compare
these three with no published number. LPIPS is a mean over images, without such a bias."""
_ENOUGH = 10_000

# Files by method, as many of each and in the same order; the truth's come first.
Pictures = Mapping[str, Sequence[Path]]
# A value with its interval, if it has one, by metric.
Numbers = Mapping[str, Estimate]


def find_pictures(folder: Path) -> dict[str, Pictures]:
    """The truth's and the methods' pictures by place.

    A method may lack a whole place, but no file of one.

    Raises:
        RuleError: there is no truth or no method; a place has fewer than two pictures; a file is
            missing, has no counterpart, is of another size or is no image.
    """
    check(str(folder), f"a folder with a folder {TRUTH!r}", (folder / TRUTH).is_dir(), "none")
    folders = sorted(x for x in folder.iterdir() if x.is_dir() and not x.name.startswith("."))
    files = {x.name: _by_place(x) for x in folders}
    check(str(folder), f"a folder with methods beside {TRUTH!r}", len(files) > 1, "none")
    for method, places in files.items():
        check(str(folder / method), "a folder of pictures", bool(places), "none")
    truth = files.pop(TRUTH)
    for method, places in files.items():
        for place, names in places.items():
            _check_pairs(folder / TRUTH / place, folder / method / place, truth.get(place), names)
    found: dict[str, Pictures] = {}
    for place, names in truth.items():
        check(str(folder / TRUTH / place), "of at least 2 pictures", len(names) > 1, len(names))
        methods = [TRUTH, *(method for method, places in files.items() if place in places)]
        pictures = {x: [folder / x / place / name for name in names] for x in methods}
        _check_sizes(pictures)
        found[place] = pictures
    return found


def measure(pictures: Pictures, networks: Networks, bar: tqdm) -> Iterator[tuple[str, Numbers]]:
    """Each method and its numbers "fid", "lpips", "p_ids" and "u_ids".

    Raises:
        RuleError: a picture is unreadable.
    """
    truth = pictures[TRUTH]
    real = np.concatenate([networks.features(batch) for batch in _batches(truth, bar)])
    for method, paths in pictures.items():
        if method == TRUTH:
            continue
        features, distances = [], []
        for originals, results in zip(_batches(truth), _batches(paths, bar)):
            features.append(networks.features(results))
            distances.append(networks.distances(originals, results))
        fake = np.concatenate(features)
        scores = discriminative_scores(real, fake)
        whole = {
            "fid": frechet_distance(real, fake),
            "p_ids": scores.paired,
            "u_ids": scores.unpaired,
        }
        numbers = {metric: Estimate(value, None, len(fake)) for metric, value in whole.items()}
        yield method, numbers | {"lpips": estimate(np.concatenate(distances)[np.newaxis])}


def table(place: str, measured: Mapping[str, Numbers]) -> str:
    """A place's numbers by method as Markdown, with what they mean below."""
    rows = [
        {
            "method": cells.escape(method),
            "FID ↓": cells.fixed(numbers["fid"].mean, 2),
            "LPIPS ↓": cells.mean(numbers["lpips"], 3),
            "P-IDS ↑": f"{cells.fixed(100 * numbers['p_ids'].mean, 2)} %",
            "U-IDS ↑": f"{cells.fixed(100 * numbers['u_ids'].mean, 2)} %",
            "n": f"{numbers['fid'].n:,}",
        }
        for method, numbers in measured.items()
    ]
    n = next(iter(measured.values()))["fid"].n
    note = _NOTE + (_TOO_FEW if n < _ENOUGH else "")
    text = note.format(n=n, enough=_ENOUGH)
    return f"## {cells.escape(place)}\n\n{cells.table(pd.DataFrame(rows))}\n\n{text}\n"


def main(argv: list[str]) -> None:
    """Measures the pictures of the folder that the command line names."""
    if len(argv) != 2:
        raise app.UsageError("name one folder, written by experiments.evaluate --write-results")
    folder = Path(argv[1]).expanduser()
    found = {place: x for place, x in find_pictures(folder).items() if len(x) > 1}
    networks = Networks()
    count = sum(len(paths) for pictures in found.values() for paths in pictures.values())
    with tqdm(total=count, unit="image") as bar:
        measured = {place: dict(measure(x, networks, bar)) for place, x in found.items()}
    rows = [
        (method, place, metric, x.mean, *(x.interval or (None, None)), x.n)
        for place, methods in measured.items()
        for method, numbers in methods.items()
        for metric, x in numbers.items()
    ]
    text = "\n".join(table(place, methods) for place, methods in measured.items())
    numbers = pd.DataFrame(rows, columns=_COLUMNS).to_csv(index=False)
    write_atomically(folder / "perceptual.csv", numbers.encode())
    write_atomically(folder / "perceptual.md", text.encode())
    print(text)
    print(f"Written to {folder}: perceptual.md, perceptual.csv")


def _by_place(folder: Path) -> dict[str, list[str]]:
    """Names of the files below that are not hidden, by their folder's path from here."""
    places: dict[str, list[str]] = {}
    for path in sorted(x for x in folder.rglob("[!.]*") if x.is_file()):
        places.setdefault(path.parent.relative_to(folder).as_posix(), []).append(path.name)
    return places


def _check_pairs(
    truth: Path, results: Path, originals: Sequence[str] | None, names: Sequence[str]
) -> None:
    """Raises a RuleError unless both folders hold files of the same names."""
    for name in sorted(set(originals or ()) ^ set(names)):
        there, missing = (results, truth) if name in names else (truth, results)
        raise RuleError(f"{missing / name} is missing: {there / name} has no counterpart")


def _check_sizes(pictures: Pictures) -> None:
    """Raises a RuleError unless all pictures are of one size."""
    first = pictures[TRUTH][0]
    size = _size(first)
    check(str(first), "of at least 32 pixels a side, for LPIPS", min(size) >= 32, size)
    for path in (path for paths in pictures.values() for path in paths):
        check(str(path), f"of the size of {first}, {size}", _size(path) == size, _size(path))


def _size(path: Path) -> tuple[int, int]:
    try:
        return image_size(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _batches(paths: Sequence[Path], bar: tqdm | None = None) -> Iterator[UInt8Array]:
    """The pictures `[N, H, W, 3]`, some at a time; advances the bar after each batch."""
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        yield np.stack([_read(path) for path in batch])
        if bar is not None:
            bar.update(len(batch))


def _read(path: Path) -> UInt8Array:
    try:
        return read_image(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> RuleError:
    return RuleError(f"{path} must be readable: {error}")


if __name__ == "__main__":
    program.run(main, lambda: None, "nothing was written")
