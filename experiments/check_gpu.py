"""Checks on one machine what depends on its GPUs, and prints a table to paste into an issue.

    python -m experiments.check_gpu              meant to take under ten minutes on a GPU
    python -m experiments.check_gpu --quick      small networks and images, as for a CPU
    python -m experiments.check_gpu inference    only checks whose names begin with a word

Without a GPU the same checks run on the CPU, and the table says so. Every check has a process of
its own, so that one that fails does not stop the others. Exit status: 0, or 1 if one failed.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple

import tensorflow as tf
from absl import flags
from tabulate import tabulate

from experiments import program
from experiments.gpu_checks import checks
from experiments.gpu_checks.common import Check, Options, Skipped, Values
from pgi.provenance import provenance
from pgi.rules import check


class Outcome(NamedTuple):
    """How a check ended.

    Attributes:
        status: "passed", "failed" or "skipped".
        values: what was measured.
        reason: why it did not pass.
        seconds: from the start of its process to its end.
    """

    status: str
    values: Values
    reason: str
    seconds: float


def in_process(
    function: Check, options: Options, earlier: Mapping[str, Values], most_seconds: float
) -> Outcome:
    """Runs a check in a process of its own; it fails if the process dies or takes too long."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, function, options, dict(earlier)))
    begin = time.monotonic()
    process.start()
    sender.close()
    values: Values = {}
    try:
        if receiver.poll(most_seconds):
            status, values, reason = receiver.recv()
        else:
            status, reason = "failed", f"did not end within {most_seconds:g} seconds"
    except EOFError:
        process.join()
        status, reason = "failed", f"its process ended with status {process.exitcode}"
    finally:
        process.kill()
        process.join()
    return Outcome(status, values, reason, time.monotonic() - begin)


def _run(
    sender: Connection, function: Check, options: Options, earlier: Mapping[str, Values]
) -> None:
    tf.get_logger().setLevel("ERROR")
    try:
        sender.send(("passed", function(options, earlier), ""))
    except Skipped as error:
        sender.send(("skipped", {}, str(error)))
    except Exception as error:  # A check may fail in any way.
        first = next(iter(str(error).strip().splitlines()), "")
        sender.send(("failed", {}, f"{type(error).__name__}: {first}"[:300]))


def report(outcomes: Mapping[str, Outcome], options: Options) -> str:
    """The outcomes as Markdown."""
    made, build = provenance(), tf.sysconfig.get_build_info()
    gpus = tf.config.list_physical_devices("GPU")
    where = f"{len(gpus)} GPU{'s' * (len(gpus) > 1)}" if gpus else "**no GPU, so on the CPU**"
    memory = "on the first GPU" if gpus else "of the process"
    sizes = "small networks and images (--quick)" if options.quick else "the paper's networks"
    rows = [
        (name, x.status, f"{x.seconds:.0f}", x.reason.replace("|", "\\|") or _shown(x.values))
        for name, x in outcomes.items()
    ]
    table = tabulate(
        rows, ("check", "outcome", "s", "measured, or reason"), "pipe", disable_numparse=True
    )
    return f"""\
`python -m experiments.check_gpu` on {where}: {sizes}, batch {options.batch} in training.

- Machine: {made["machine"]}
- TensorFlow {tf.__version__}, built for CUDA {build.get("cuda_version", "none")} and cuDNN \
{build.get("cudnn_version", "none")}, Keras {made["versions"]["keras"]}, Python \
{made["versions"]["python"]}
- Commit {made["git_commit"]}

{table}

"s" is the whole check with the start of its process; "MB" is the peak {memory}; "difference" is the
largest of any value.
"""


def _shown(values: Values) -> str:
    return ", ".join(
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
    )


def main(argv: list[str]) -> int:
    """Runs the checks and prints the table."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    replicas, most_seconds = (gpus, 600) if gpus else (2, 1800)
    options = Options(flags.FLAGS.quick, -(-flags.FLAGS.batch // replicas) * replicas)
    named = {k: x for k, x in checks(options.quick).items() if k.startswith(tuple(argv[1:]) or "")}
    check("arguments", "beginnings of checks' names", bool(named), " ".join(argv[1:]))
    outcomes: dict[str, Outcome] = {}
    for name, function in named.items():
        passed = {k: x.values for k, x in outcomes.items() if x.status == "passed"}
        outcomes[name] = in_process(function, options, passed, most_seconds)
        print(f"{name}: {outcomes[name].status} {outcomes[name].reason}".strip(), flush=True)
    print(f"\n{report(outcomes, options)}")
    return int(any(x.status == "failed" for x in outcomes.values()))


def _define_flags() -> None:
    flags.DEFINE_bool("quick", False, "Small networks and images.")
    flags.DEFINE_integer("batch", 2, "Batch in training, rounded up to a multiple of the GPUs.", 1)


if __name__ == "__main__":
    program.run(main, _define_flags, "the checks that ended are above")
