"""The program `pgi`."""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import io
import math
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from pgi import quiet  # noqa: F401  (before anything else imports TensorFlow)
from pgi.errors import PlanError, RuleError, UserError
from pgi.export.limits import MAX_MEGAPIXELS
from pgi.export.unfinished import ended_by_signals
from pgi.files.inpaint import Outcome, Settings, inpaint_files
from pgi.files.jobs import plan
from pgi.files.kinds import FORMATS
from pgi.files.masks import POLARITIES
from pgi.rules import DEFAULT_DEPTH, DEPTHS
from pgi.training import cluster

if typing.TYPE_CHECKING:
    from pgi.inference import Inpainter

_INPAINT = """\
Fills the holes of PNG, JPEG, WebP, TIFF and BMP pictures of 8 bits per channel, and of PNG and TIFF
of 16. A result keeps its picture's name, size, alpha, EXIF, ICC profile and resolution as far as
its format can hold them, and, in all but JPEG, every pixel outside the hole. Existing outputs are
skipped, so the same command continues an interrupted run."""
_EXPORT = """\
Exports a trained model: as a SavedModel for TensorFlow Serving, in a new version's folder; as an
ONNX file, for any image size; or as a TensorFlow Lite file, for one size. An export that fails, or
whose results differ from the model's, leaves nothing behind."""
_IMPORT = """\
Makes a run folder from weights of DeepFillv2's own TensorFlow 1 program, for every command that
takes one; it cannot be trained on. The released weights are under CC BY-NC 4.0: their terms are
yours to keep."""
_DEMO = """\
A web page on which to paint holes into photographs and fill them. Ctrl-C or SIGTERM ends it and
deletes all uploads and results. docs/INPAINTING.md says what is bounded, and how to publish it."""
_SHIPPED = "default the weights that ship with pgi"
_SUFFIXES = {"saved_model": "", "onnx": ".onnx", "tflite": ".tflite"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        0 after success, 1 if some files failed, 2 if the command failed, 130 if interrupted.
        `pgi export` ends with 143 by SIGTERM.
        `pgi demo` ends the process itself, with 128 + the signal's number: 143 by SIGTERM.
    """
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may contain bytes that the terminal cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        cluster.refuse()
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print(f"interrupted; {arguments.on_interrupt}", file=sys.stderr)
        return 130
    # ImportError: a missing extra, or a system library that OpenCV needs.
    except (UserError, ImportError, OSError) as error:
        print(f"pgi {arguments.command}: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pgi", description="Image inpainting.")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    _define_inpaint(commands.add_parser("inpaint", help="fill pictures", description=_INPAINT))
    _define_export(commands.add_parser("export", help="export a model", description=_EXPORT))
    text = "make a run folder of DeepFillv2's weights"
    _define_import(commands.add_parser("import-deepfillv2", help=text, description=_IMPORT))
    _define_demo(commands.add_parser("demo", help="serve a demo page", description=_DEMO))
    return parser


def _define_inpaint(parser: argparse.ArgumentParser) -> None:
    interrupted = "outputs so far are kept; the same command without --overwrite continues"
    parser.set_defaults(run=_inpaint, on_interrupt=interrupted)
    _add_model(parser)
    images = "a file, or a folder with all its subfolders"
    _add_path(parser, "--images", images, required=True)
    hole = parser.add_mutually_exclusive_group(required=True)
    masks = (
        "a file for all images; or a folder with one mask per image, of the same path apart from "
        "the suffix; or the images' own folder (see --mask-suffix); white is the hole"
    )
    _add_path(hole, "--masks", masks)
    hole.add_argument(
        "--mask-from-alpha",
        action="store_true",
        help="the hole is where an image's alpha is <= 127; filled pixels become opaque, other "
        "alpha is kept",
    )
    output = "a folder; or, for one image, a .png, .jpg, .webp, .tif or .bmp file"
    _add_path(parser, "--output", output, required=True)
    add = parser.add_argument
    formats = [name.lower() for name in FORMATS]
    add("--format", choices=formats, help="of the outputs; default as their names say")
    add(
        "--mask-polarity",
        choices=POLARITIES,
        default="white",
        help="which side of mid-grey is the hole: white (> 127, the default) or black",
    )
    suffix = (
        "what a mask's name has after its image's, a pattern such as -hole or _mask*; several "
        "masks of an image give several outputs, named after them; default nothing, and _mask* if "
        "the masks lie in the images' folder"
    )
    add("--mask-suffix", metavar="TEXT", help=suffix)
    grow = "let holes grow by this distance in pixels, for masks that were painted too tightly"
    add("--grow-mask", type=_distance, metavar="N", default=0, help=grow)
    add("--resize-masks", action="store_true", help="resize masks to the size of their images")
    _add_limit(parser, "reject larger images and masks", 64.0)
    add("--overwrite", action="store_true", help="replace existing outputs")


def _define_export(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_export, on_interrupt="nothing of the export is left behind")
    run = f"run folder of a trained model, or one of its checkpoints; {_SHIPPED}"
    _add_path(parser, "--run", run, metavar="RUN", dest="run_folder")
    add = parser.add_argument
    add("--format", choices=list(_SUFFIXES), default="saved_model", help="default saved_model")
    output = (
        "folder of the versions, or the .onnx or .tflite file; default export/ and the run's name"
    )
    _add_path(parser, "--output", output)
    version = "of a SavedModel; default one more than the highest in the folder"
    add("--version", type=int, metavar="N", help=version)
    _add_depth(parser, "of a SavedModel: ")
    limit = f"a SavedModel rejects larger images; default {MAX_MEGAPIXELS:g}"
    add("--max-megapixels", type=_megapixels, metavar="N", help=limit)
    size = "of the images of a TensorFlow Lite file, in pixels; default the training's"
    add("--size", type=_size, metavar="HxW", help=size)


def _define_import(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_import, on_interrupt="nothing of the import is left behind")
    checkpoint = (
        "a folder with one TensorFlow 1 checkpoint, what the names of its files begin with "
        "(release/snap-0), one of its files, or a frozen graph (.pb)"
    )
    _add_path(parser, "checkpoint", checkpoint, metavar="CHECKPOINT")
    _add_path(parser, "--output", "the run folder, which must not exist", required=True)
    order = parser.add_mutually_exclusive_group()
    add = functools.partial(order.add_argument, dest="channel_order", action="store_const")
    bgr = "the weights were trained on BGR images, as the released ones were, and are converted"
    add("--bgr", const="bgr", default="bgr", help=f"{bgr}; the default")
    add("--rgb", const="rgb", help="the weights were trained on RGB images")


def _define_demo(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_demo, on_interrupt="the page was not open yet")
    _add_model(parser)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="default 127.0.0.1: this machine only")
    add("--port", type=_port, default=7860, help="default 7860")
    add(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers reach the page, such as www.example.org; may be repeated. "
        "Requests by other names than localhost are refused, those by IP addresses are not",
    )
    accounts = (
        "ask for a login; a text file with a line NAME:PASSWORD for each visitor (in a file, since "
        "all users of a machine can read its command lines)"
    )
    _add_path(parser, "--auth", accounts, metavar="FILE")
    _add_limit(
        parser,
        "reject larger photographs",
        default_text="64, and 16 for others (--host, --host-name)",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = (
        "run folder of a trained model, one of its checkpoints, or its SavedModel; a SavedModel is "
        f"a program: load none from a stranger; {_SHIPPED}"
    )
    _add_path(parser, "--model", model, metavar="RUN")
    _add_depth(parser)


def _add_depth(parser: argparse.ArgumentParser, subject: str = "") -> None:
    depth = (
        f"{subject}how many levels fill a picture: paper, the model's own at any size, or auto, "
        f"more for holes that are larger than in training; default {DEFAULT_DEPTH}"
    )
    parser.add_argument("--depth", choices=DEPTHS, help=depth)


def _add_path(
    parser: argparse._ActionsContainer, flag: str, help: str, **options: typing.Any
) -> None:
    options = {"metavar": "PLACE", **options}
    parser.add_argument(flag, type=lambda text: Path(text).expanduser(), help=help, **options)


def _add_limit(
    parser: argparse.ArgumentParser,
    help: str,
    default: float | None = None,
    default_text: str = "64",
) -> None:
    help = f"{help}; default {default_text}"
    parser.add_argument(
        "--max-megapixels", type=_megapixels, metavar="N", default=default, help=help
    )


def _megapixels(text: str) -> float:
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")


def _distance(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 0 up, got {text}")


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 2**16:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be from 1 to 65535, got {text}")


def _size(text: str) -> tuple[int, int]:
    with contextlib.suppress(ValueError):
        height, width = map(int, text.split("x"))
        if min(height, width) > 0:
            return height, width
    raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH in pixels, such as 512x512, got {text}")


def _inpaint(arguments: argparse.Namespace) -> int:
    # Replaced by --max-megapixels.
    Image.MAX_IMAGE_PIXELS = None
    format = arguments.format and arguments.format.upper()
    settings = Settings(
        arguments.mask_polarity,
        arguments.resize_masks,
        arguments.max_megapixels,
        arguments.grow_mask,
        arguments.overwrite,
    )
    if arguments.mask_from_alpha and arguments.mask_polarity == "black":
        raise PlanError("--mask-polarity must be white under --mask-from-alpha, got black")
    jobs = plan(arguments.images, arguments.masks, arguments.output, format, arguments.mask_suffix)
    todo = [job for job in jobs if arguments.overwrite or not job.output.is_file()]
    outcome, ready = Outcome(), [job for job in todo if not job.problem]
    if ready:
        # On a terminal, something to see before the first picture.
        with tqdm(ready, "loading the model", unit="file", leave=False, disable=None):
            inpainter = _load(arguments.model, arguments.depth)
        print(f"weights: {inpainter.origin}", file=sys.stderr)
        # A call would also warn through Python's warnings.
        outcome = inpaint_files(ready, lambda *x: inpainter.completed_levels(*x)[-1], settings)
    outcome.skipped += len(jobs) - len(todo)
    outcome.failures = {job: job.problem for job in todo if job.problem} | outcome.failures
    for job, reason in outcome.failures.items():
        print(f"{job.image}: {reason}", file=sys.stderr)
    print(f"{outcome}; outputs in {arguments.output}")
    return 1 if outcome.failures else 0


@ended_by_signals()  # Otherwise it would leave temporary files.
def _export(arguments: argparse.Namespace) -> int:
    from pgi.export.saved_model import export_saved_model  # As in `_load`.
    from pgi.inference import load_checkpoint
    from pgi.training.weights_file import find

    for option, format in (
        ("size", "tflite"),
        ("version", "saved_model"),
        ("depth", "saved_model"),
        ("max_megapixels", "saved_model"),
    ):
        if getattr(arguments, option) is not None and arguments.format != format:
            flag = option.replace("_", "-")
            raise RuleError(f"--{flag} is for --format={format}, got {arguments.format}")
    checkpoint = find(arguments.run_folder)
    name = checkpoint.run.path.resolve().name
    output = arguments.output or Path("export", name + _SUFFIXES[arguments.format])
    if arguments.format == "saved_model":
        limit = arguments.max_megapixels or MAX_MEGAPIXELS
        depth = arguments.depth or DEFAULT_DEPTH
        output = export_saved_model(checkpoint, output, arguments.version, limit, depth)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        model = load_checkpoint(checkpoint).model
        if arguments.format == "onnx":
            from pgi.export.onnx import export_onnx

            agreement = export_onnx(model, output)
        else:
            from pgi.export.tflite import export_tflite

            agreement = export_tflite(model, output, *(arguments.size or [model.levels[-1]] * 2))
        print(agreement)
    print(f"{checkpoint.name} of {arguments.run_folder or name} exported to {output}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from pgi.deepfillv2_import import import_run  # As in `_load`.

    for line in import_run(arguments.checkpoint, arguments.output, arguments.channel_order):
        print(line)
    print(
        f"Run folder: {arguments.output}. Its MODEL_CARD.md names the weights' origin and licence; "
        "released weights are CC BY-NC 4.0: no commercial use"
    )
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from pgi import demo  # Before the model is loaded, in case Gradio is missing.

    settings = demo.Settings(
        host=arguments.host,
        port=arguments.port,
        host_names=tuple(arguments.host_name),
        accounts=demo.read_accounts(arguments.auth) if arguments.auth else (),
        max_megapixels=arguments.max_megapixels,
    )
    # Pillow raises an error above twice its limit. The page has its own check, with this as a
    # second wall in front of what else may open a picture.
    Image.MAX_IMAGE_PIXELS = math.ceil(settings.megapixels * 5e5)
    inpainter = _load(arguments.model, arguments.depth)
    return demo.serve_until_interrupted(inpainter, demo.sample_photographs(), settings)


def _load(path: Path | None, depth: str | None) -> Inpainter:
    with _no_garbage_collection():
        from pgi import inference  # Not above: TensorFlow takes seconds, --help does not need it.

        inpainter = inference.load(path, depth)
    if inpainter.warning:
        tqdm.write(f"warning: {inpainter.warning}", file=sys.stderr)
    return inpainter


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """For making many objects that stay.

    Importing TensorFlow and building a network make a million. To search them for garbage again and
    again would take a third of that time. They are left alone afterwards too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def program() -> typing.NoReturn:
    """`main` as a process of its own."""
    code = main()
    gc.freeze()  # A last search for garbage would take half a second.
    sys.exit(code)


if __name__ == "__main__":
    program()
