"""The program `pgi`."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import typing
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pgi import quiet  # noqa: F401  (before anything else imports TensorFlow)
from pgi.errors import PlanError, RuleError, UserError
from pgi.files.encoding import FORMATS
from pgi.files.inpaint import Fill, Settings, inpaint_files
from pgi.files.jobs import plan
from pgi.files.pictures import POLARITIES

if typing.TYPE_CHECKING:
    from pgi.export.portable import Agreement
    from pgi.models import PyramidGenerator

_EXPORT = """\
Writes a trained model for others to run: as a SavedModel for TensorFlow Serving, a version in the
output folder; as an ONNX file, for any size; or as a TensorFlow Lite file, for one size. What
cannot be made, or fails its check against the model, leaves nothing behind."""
_DEMO = "A page on which to paint holes into photographs and see them filled. Ctrl-C ends it."
_MODEL_HELP = "run folder of a trained model, one of its checkpoints, or its SavedModel"
_SUFFIXES = {"saved_model": "", "onnx": ".onnx", "tflite": ".tflite"}

_INPAINT = """\
Fills the holes of PNG, JPEG and WebP pictures of 8 bits per channel. A result keeps its picture's
name, format, size, alpha, EXIF, ICC profile and resolution, and, in PNG and WebP, every pixel
outside the hole. Outputs that exist are skipped, so the same command goes on with a run that was
stopped."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        0 if all is done, 1 if some files failed, 2 if nothing could be begun, 130 if interrupted.
    """
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a file may be no text, or none that the terminal can show.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print(f"interrupted; {arguments.on_interrupt}", file=sys.stderr)
        return 130
    # ImportError: an extra, or OpenCV's library. The others are what a user can mend.
    except (UserError, ImportError, OSError) as error:
        print(f"pgi {arguments.command}: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pgi", description="Image inpainting.")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    _define_inpaint(
        commands.add_parser("inpaint", help="fill the holes of pictures", description=_INPAINT)
    )
    _define_export(
        commands.add_parser("export", help="write a model for serving", description=_EXPORT)
    )
    _define_demo(commands.add_parser("demo", help="a page to try a model on", description=_DEMO))
    return parser


def _define_inpaint(inpaint: argparse.ArgumentParser) -> None:
    inpaint.set_defaults(
        run=_inpaint,
        on_interrupt="finished outputs are kept, and the same command without --overwrite goes on "
        "after them",
    )
    add = inpaint.add_argument
    add(
        "--model",
        required=True,
        type=_path,
        metavar="RUN",
        help=_MODEL_HELP,
    )
    add(
        "--images",
        required=True,
        type=_path,
        metavar="PLACE",
        help="a file, or a folder with all below",
    )
    hole = inpaint.add_mutually_exclusive_group(required=True)
    hole.add_argument(
        "--masks",
        type=_path,
        metavar="PLACE",
        help="a file for all images, or a folder in which a mask has its image's path but for the "
        "suffix; white is the hole",
    )
    hole.add_argument(
        "--mask-from-alpha",
        action="store_true",
        help="the hole is where the image's alpha is <= 127; what is filled becomes opaque, all "
        "other alpha is kept",
    )
    add(
        "--output",
        required=True,
        type=_path,
        metavar="PLACE",
        help="a folder; or, for one image, a .png, .jpg or .webp file",
    )
    add(
        "--format",
        choices=[name.lower() for name in FORMATS],
        help="of the outputs; default each image's own",
    )
    add(
        "--mask-polarity",
        choices=POLARITIES,
        default="white",
        help="which side of mid-grey of a mask is the hole: white (> 127, the default) or black",
    )
    add("--resize-masks", action="store_true", help="let masks have another size than their images")
    add(
        "--max-megapixels",
        type=_megapixels,
        default=64.0,
        metavar="N",
        help="refuse larger images and masks; default 64",
    )
    add("--overwrite", action="store_true", help="replace outputs that exist")


def _define_export(export: argparse.ArgumentParser) -> None:
    export.set_defaults(run=_export, on_interrupt="nothing of the export is left behind")
    add = export.add_argument
    add(
        "--run",
        # Not `run`, which is what the command does.
        dest="run_folder",
        required=True,
        type=_path,
        metavar="RUN",
        help="run folder of a trained model, or one of its checkpoints",
    )
    add("--format", choices=list(_SUFFIXES), default="saved_model", help="default saved_model")
    add(
        "--output",
        type=_path,
        metavar="PLACE",
        help="folder of the versions, or the .onnx or .tflite file; default export/ and the run's "
        "name",
    )
    add(
        "--version",
        type=int,
        metavar="N",
        help="of a SavedModel; default one more than the highest in the folder",
    )
    add(
        "--max-megapixels",
        type=_megapixels,
        metavar="N",
        help="a SavedModel refuses larger files; default 64",
    )
    add(
        "--size",
        type=_size,
        metavar="HxW",
        help="of the images of a TensorFlow Lite file, in pixels; default the training's",
    )


def _define_demo(demo: argparse.ArgumentParser) -> None:
    demo.set_defaults(run=_demo, on_interrupt="the page is closed")
    add = demo.add_argument
    add("--model", required=True, type=_path, metavar="RUN", help=_MODEL_HELP)
    add("--host", default="127.0.0.1", help="default 127.0.0.1: this machine alone")
    add("--port", type=_port, default=7860, help="default 7860")
    add(
        "--max-megapixels",
        type=_megapixels,
        default=64.0,
        metavar="N",
        help="refuse larger photographs; default 64",
    )


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _megapixels(text: str) -> float:
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")


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
    # Pillow's own limit would forbid what the user allows.
    Image.MAX_IMAGE_PIXELS = None
    format = arguments.format and arguments.format.upper()
    settings = Settings(arguments.mask_polarity, arguments.resize_masks, arguments.max_megapixels)
    if arguments.mask_from_alpha and arguments.mask_polarity == "black":
        raise PlanError("--mask-polarity must be white under --mask-from-alpha, got black")
    jobs = plan(arguments.images, arguments.masks, arguments.output, format)
    todo = [job for job in jobs if arguments.overwrite or not job.output.is_file()]
    failures = {job.image: job.problem for job in todo if job.problem}
    ready = [job for job in todo if not job.problem]
    if ready:
        failures |= inpaint_files(ready, _load(arguments.model), settings)
    for image, reason in failures.items():
        print(f"{image}: {reason}", file=sys.stderr)
    print(
        f"{len(todo) - len(failures)} done, {len(jobs) - len(todo)} skipped (exist already), "
        f"{len(failures)} failed; outputs in {arguments.output}"
    )
    return 1 if failures else 0


def _export(arguments: argparse.Namespace) -> int:
    from pgi import inference  # As in `_load`.
    from pgi.export.saved_model import export_saved_model, load_float32

    for option, format in (
        ("size", "tflite"),
        ("version", "saved_model"),
        ("max_megapixels", "saved_model"),
    ):
        if getattr(arguments, option) is not None and arguments.format != format:
            flag = option.replace("_", "-")
            raise RuleError(f"--{flag} is for --format={format}, got {arguments.format}")
    checkpoint = inference.find_checkpoint(arguments.run_folder)
    name = checkpoint.parent.parent.resolve().name
    output = arguments.output or Path("export", name + _SUFFIXES[arguments.format])
    if arguments.format == "saved_model":
        limit = arguments.max_megapixels or 64.0
        output = export_saved_model(checkpoint, output, arguments.version, limit)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        agreement = _export_portable(arguments, load_float32(checkpoint).model, output)
        print(
            f"Held against TensorFlow, values in [-1, 1]: differs by {agreement.largest:.2g}, on "
            f"average by {agreement.mean:.2g}"
        )
        if agreement.rounding:
            print(f"(TensorFlow from itself, op by op and as a graph: {agreement.rounding:.2g})")
    print(f"{checkpoint.name} of {arguments.run_folder} exported to {output}")
    return 0


def _export_portable(
    arguments: argparse.Namespace, model: PyramidGenerator, output: Path
) -> Agreement:
    if arguments.format == "onnx":
        from pgi.export.onnx import export_onnx

        return export_onnx(model, output)
    from pgi.export.tflite import export_tflite

    return export_tflite(model, output, *(arguments.size or [model.levels[-1]] * 2))


def _demo(arguments: argparse.Namespace) -> int:
    from pgi import demo, load  # As in `_load`; a missing Gradio is said before a model is loaded.

    Image.MAX_IMAGE_PIXELS = None  # As in `_inpaint`.
    samples = demo.sample_photographs()
    page = demo.build(load(arguments.model), samples, arguments.max_megapixels)
    demo.launch(page, arguments.host, arguments.port)
    return 0


def _load(run: Path) -> Fill:
    from pgi import load  # Only now: TensorFlow takes seconds, and nothing above needs it.

    inpainter = load(run)
    print(f"weights: {inpainter.origin}", file=sys.stderr)
    return inpainter


if __name__ == "__main__":
    sys.exit(main())
