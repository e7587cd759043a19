"""The program `pgi`."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pgi import quiet  # noqa: F401  (before anything else imports TensorFlow)
from pgi.files.encoding import FORMATS
from pgi.files.inpaint import Fill, Settings, inpaint_files
from pgi.files.jobs import PlanError, plan
from pgi.files.pictures import POLARITIES
from pgi.rules import RuleError
from pgi.run_folder import RunFolderError

_INPAINT = """\
Fills the holes of PNG, JPEG and WebP pictures of 8 bits per channel. A result keeps its picture's
name, format, size, mode, alpha, EXIF, ICC profile and resolution, and, in PNG and WebP, every pixel
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
        print(
            "interrupted; finished outputs are kept, and the same command without --overwrite "
            "goes on after them",
            file=sys.stderr,
        )
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pgi", description="Image inpainting.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    inpaint = commands.add_parser(
        "inpaint", help="fill the holes of pictures", description=_INPAINT
    )
    inpaint.set_defaults(run=_inpaint)
    add = inpaint.add_argument
    add(
        "--model",
        required=True,
        type=_path,
        metavar="RUN",
        help="run folder of a trained model, or one of its checkpoints",
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
    return parser


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _megapixels(text: str) -> float:
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")


def _inpaint(arguments: argparse.Namespace) -> int:
    # Pillow's own limit would forbid what the user allows.
    Image.MAX_IMAGE_PIXELS = None
    format = arguments.format and arguments.format.upper()
    settings = Settings(arguments.mask_polarity, arguments.resize_masks, arguments.max_megapixels)
    try:
        if arguments.mask_from_alpha and arguments.mask_polarity == "black":
            raise PlanError("--mask-polarity must be white under --mask-from-alpha, got black")
        jobs = plan(arguments.images, arguments.masks, arguments.output, format)
        todo = [job for job in jobs if arguments.overwrite or not job.output.is_file()]
        failures = {job.image: job.problem for job in todo if job.problem}
        ready = [job for job in todo if not job.problem]
        if ready:
            failures |= inpaint_files(ready, _load(arguments.model), settings)
    except (PlanError, RuleError, RunFolderError, ImportError, OSError) as error:
        print(f"pgi inpaint: error: {error}", file=sys.stderr)
        return 2
    for image, reason in failures.items():
        print(f"{image}: {reason}", file=sys.stderr)
    print(
        f"{len(todo) - len(failures)} done, {len(jobs) - len(todo)} skipped (exist already), "
        f"{len(failures)} failed; outputs in {arguments.output}"
    )
    return 1 if failures else 0


def _load(run: Path) -> Fill:
    from pgi import load  # Only now: TensorFlow takes seconds, and nothing above needs it.

    return load(run)


if __name__ == "__main__":
    sys.exit(main())
