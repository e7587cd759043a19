"""Scores trained models, classical baselines and others' results on the same crops and masks.

    python -m experiments.evaluate --run=runs/places2 --dataset=div2k
    python -m experiments.evaluate --run=runs/pg,old=runs/2019 --dataset=photos --part=table_1
    python -m experiments.evaluate --dataset=div2k --size=512 --dump-inputs=inputs
    python -m experiments.evaluate --dataset=div2k --size=512 --results-dir=theirs=outputs
    python -m experiments.evaluate --run=deepfillv2:release/snap-0 --dataset=div2k --size=512
    python -m experiments.evaluate --dataset=tfds:places2/256 --size=256 --photographs=0

Measures the numbers of the paper's Tables 1 and 2 and Figures 6 and 7, at the size that the models
were trained at, and writes them (`results.csv.gz`) with tables, plots, and sheets of pictures as in
Figures 3 to 5. The same command continues an interrupted evaluation. One folder may hold the
results of several datasets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from absl import app, flags

import data
from data.names import KNOWN
from experiments import program
from experiments.report import figures, picture_sheets, tables
from experiments.variants import VARIANTS, ours_among, title
from pgi import weights
from pgi.atomic import write_atomically
from pgi.config import CROPS
from pgi.deepfillv2 import split_source
from pgi.errors import NoUsableImageError, RuleError
from pgi.evaluation import crops, results
from pgi.evaluation.comparing import compare
from pgi.evaluation.mask_sets import MASK_SETS
from pgi.evaluation.methods import DeepFillv2, Method, Outputs, Trained, classical
from pgi.evaluation.tasks import MASKED, TRUTH, Task, dump_inputs, tasks
from pgi.metrics import PROTOCOLS
from pgi.rules import check, check_choice
from pgi.training.run_folder import RunFolder

# Mask sets by part of the evaluation and multiple of the training size.
PARTS: dict[str, dict[float, tuple[str, ...]]] = {
    "table_1": {1.0: ("center", "union")},
    "table_2": {2.0: ("center", "union")},
    "figure_6": {1.0: tuple(name for name in MASK_SETS if name.startswith("ratio_"))},
    "figure_7": {0.5: ("center",), 1.0: ("center",), 2.0: ("center",)},
    "extras": {
        1.0: tuple(
            name
            for name in MASK_SETS
            if name not in ("center", "union") and not name.startswith("ratio_")
        )
    },
}
_MIN_SIZE = 56  # A multiple of 8, as the networks need, above SSIM's largest window of 51.
_BY_DEFAULT = ["table_1", "table_2", "figure_6", "figure_7"]


def split_name(named: str) -> tuple[Path, str | None]:
    """The path and the name, if any, of `PATH` or `NAME=PATH`."""
    if not Path(named).expanduser().exists() and "=" in named:  # A path may have a "=" too.
        name, _, path = named.partition("=")
        return Path(path).expanduser(), name
    return Path(named).expanduser(), None


def find_runs(named: str) -> list[tuple[Path, str | None]]:
    """The run folders of `PATH` or `NAME=PATH`, with the name, if any.

    A path that is no run folder means all run folders below it. Weights that ship with the package
    are named as for `pgi.weights.located`.

    Raises:
        RuleError: there is no run folder.
    """
    path, name = split_name(named)
    folder = weights.located(path)
    found = [folder] if (folder / "config.json").exists() else []
    found = found or sorted(x.parent for x in folder.glob("**/config.json"))
    check("run", "a run folder, or a folder of them", bool(found), str(folder))
    return [(run, name) for run in found]


def deepfillv2_source(named: str) -> tuple[str, str, str | None] | None:
    """Path, order of the colours and name, if any, of `deepfillv2:PATH` or `NAME=deepfillv2:PATH`.

    None if a run is named. See `pgi.deepfillv2.split_source`.
    """
    name, _, source = named.partition("=")
    if found := split_source(named):  # Its path may have a "=" too.
        return (*found, None)
    return (*found, name) if (found := split_source(source)) else None


def trained(named: Iterable[str]) -> list[Trained | DeepFillv2]:
    """The models of the named run folders, see `find_runs`, and checkpoints of DeepFillv2.

    Raises:
        RuleError: a name has no run folder, or a checkpoint is not DeepFillv2's.
        RunFolderError: a run has no checkpoint yet, or a checkpoint is missing or damaged.
    """
    methods: list[Trained | DeepFillv2] = []
    for item in named:
        if source := deepfillv2_source(item):
            methods.append(DeepFillv2(*source))
            continue
        for folder, name in find_runs(item):
            config = RunFolder(folder).read_config()
            titled = title(config.name, config) if not name and config.name in VARIANTS else None
            methods.append(Trained(folder, name, titled))
    return methods


def default_side(methods: Iterable[Trained | DeepFillv2]) -> int:
    """The largest side of the runs or, without a run, that of DeepFillv2; 0 without a model."""
    sides = [(isinstance(x, Trained), x.side) for x in methods]
    return max(sides, default=(False, 0))[1]


def others(named: Iterable[str], written: Path | None) -> list[Outputs]:
    """The folders of other programs' results, each `FOLDER` or `NAME=FOLDER`.

    Args:
        named: the folders.
        written: folder that results are written to, where pictures may be replaced.

    Raises:
        RuleError: a folder is missing, or is inside the one that is written to.
    """
    methods = []
    for path, name in map(split_name, named):
        around = (path.resolve(), *path.resolve().parents)
        apart = written is None or written.resolve() not in around
        check("write-results", f"no folder around {path}, which is scored", apart, str(written))
        methods.append(Outputs(name or results.file_name(path.name), path))
    return methods


def choose_tasks(
    dataset: str,
    parts: Iterable[str],
    side: int,
    crop: str,
    photographs: int = 100,
    each: int = 1,
) -> list[Task]:
    """Crops and masks for the parts of an evaluation.

    Args:
        dataset: as `data.load` takes it; its validation photographs are cut.
        parts: of `PARTS`.
        side: of the model's training, in pixels.
        crop, photographs, each: as for `pgi.evaluation.crops.cut`.

    Raises:
        RuleError: an argument breaks its rule.
        NoUsableImageError: no photograph is large enough for any of the parts.
    """
    parts = list(parts)
    check("parts", "at least one", bool(parts), parts)
    masks: dict[int, dict[str, None]] = {}
    for part in parts:
        check_choice("part", tuple(PARTS), part)
        for multiple, names in PARTS[part].items():
            masks.setdefault(int(side * multiple), {}).update(dict.fromkeys(names))
    source = data.load(dataset)[1]
    chosen: list[Task] = []
    left_out: list[RuleError | NoUsableImageError] = []
    for size, sets in sorted(masks.items()):
        try:
            check("size", f"at least {_MIN_SIZE}, which the metrics need", size >= _MIN_SIZE, size)
            chosen += tasks(crops.cut(source, dataset, size, crop, photographs, each), sets)
        except (RuleError, NoUsableImageError) as error:
            left_out.append(error)
    if not chosen:
        raise left_out[0]
    for reason in left_out:
        print(f"left out: {reason}")
    return chosen


def report(output: Path, protocol: str, pictures: Mapping[str, Path]) -> None:
    """Writes tables, plots and sheets of a folder's results, and prints the tables.

    Args:
        output: the folder, which holds `results.csv.gz`.
        protocol: of the numbers that are shown.
        pictures: folders of pictures by method, and by `TRUTH` and `MASKED`.
    """
    found = results.read(output / results.FILE)
    text = tables.report(found, protocol)
    write_atomically(output / "tables.md", text.encode())
    written = figures.draw(found, output, protocol)
    ours = ours_among({x.method: x.kind for x in found.evaluations if x.method in pictures})
    written += picture_sheets.draw(found.crop_lists, pictures, found.titles(), ours, output)
    print(text)
    print(f"Numbers, tables, plots and sheets are in {output}:")
    print(*(path.name for path in written), sep=", ")


def default_output(named: Iterable[str]) -> Path:
    """`evaluation` in the first run's folder; in `runs` if none is named, or one of the package."""
    runs = [weights.located(split_name(x)[0]) for x in named if not deepfillv2_source(x)]
    own = (run for run in runs if run.resolve().parent != weights.FOLDER.resolve())
    return next(own, Path("runs")) / "evaluation"


def main(argv: list[str]) -> None:
    """Evaluates the methods that the flags name."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    # With a size, baselines and others' results can be measured without a model.
    named = values.run or ([] if values.size else [str(weights.located(None))])
    methods = trained(named)
    runs = [x for x in methods if isinstance(x, Trained)]
    size = values.size or default_side(methods)
    kinds = {x.crop for x in runs} or {"random"}
    if not values.crop:
        choices = f"given, since the runs differ in it: --crop={'|'.join(CROPS)}"
        check("crop", choices, len(kinds) == 1, sorted(kinds))
    dataset = values.dataset or next((x.dataset for x in runs), "")
    check("dataset", "given where there is no run: --dataset=div2k", bool(dataset), dataset)
    chosen = choose_tasks(
        dataset,
        values.part,
        size,
        values.crop or kinds.pop(),
        values.photographs,
        values.get_flag_value("crops-each", 1),
    )
    if dumped := values.get_flag_value("dump-inputs", None):
        dump_inputs(chosen, Path(dumped).expanduser())
        print(f"Images and masks of {', '.join(x.place for x in chosen)}: {dumped}")
        return
    compared: list[Method] = [*methods, *(classical() if values.classical else [])]
    written = values.get_flag_value("write-results", None)
    folder = Path(written).expanduser() if written else None
    compared += others(values.get_flag_value("results-dir", []), folder)
    check("methods", "a run or a folder of results, at least", bool(compared), "none")
    output = Path(values.output or default_output(named)).expanduser()
    compare(compared, chosen, values.protocol, output, folder)
    if folder is not None:
        print(f"Truth and results of every crop are in {folder}")
    methods_shown = (TRUTH, MASKED, *(x.name for x in compared))
    report(output, values.protocol[0], {x: output / "pictures" / x for x in methods_shown})


def _define_flags() -> None:
    flags.DEFINE_list(
        "run",
        [],
        "Run folders, as PATH or NAME=PATH, and checkpoints, as deepfillv2:PATH; default, without "
        "--size: the weights that ship with pgi.",
    )
    flags.DEFINE_string("dataset", None, f"{KNOWN}; default: the first run's.")
    flags.DEFINE_list("protocol", "paper", f"Of {', '.join(PROTOCOLS)}; tables show the first.")
    flags.DEFINE_list("part", _BY_DEFAULT, f"What to measure: {', '.join(PARTS)}.")
    flags.DEFINE_integer("size", None, "Side of Table 1's crops in pixels; default: the models'.")
    flags.DEFINE_enum("crop", None, CROPS, "How crops are cut; default: as for training.")
    flags.DEFINE_integer("photographs", 100, "Maximum number; 0: all.", lower_bound=0)
    flags.DEFINE_integer("crops-each", 1, "Crops per photograph.", lower_bound=1)
    flags.DEFINE_bool("classical", True, "Whether to measure the baselines without training.")
    flags.DEFINE_multi_string(
        "results-dir", [], "FOLDER or NAME=FOLDER of other programs' results."
    )
    flags.DEFINE_string("dump-inputs", None, "Only write images and masks to this folder.")
    flags.DEFINE_string("write-results", None, "Also write all results as pictures to this folder.")
    flags.DEFINE_string(
        "output", None, "Default: evaluation, in the first run's folder, or in runs."
    )


if __name__ == "__main__":
    program.run(
        main, _define_flags, "the same command continues after the last finished photograph"
    )
