"""Measures speed and memory, and compares them as ratios within one run.

    python -m experiments.benchmark              all groups
    python -m experiments.benchmark attention    one of: attention, pyramid, hole, training, small,
                                                 data, export

Every case runs in a process of its own, so that its peak of memory is its own (Linux only). A run
of all groups writes `benchmark.json` and, from it, `benchmark.md`; a run of some groups writes
`benchmark_GROUP.json` and `.md` for each. Ratios are only fair within one run.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from absl import flags
from tabulate import tabulate

from experiments import (
    benchmark_input,
    benchmark_network,
    benchmark_small,
    benchmark_training,
    program,
)
from pgi.atomic import write_atomically
from pgi.rules import check_choice

CASES: dict[str, benchmark_network.Case] = {
    **benchmark_network.CASES,
    **benchmark_training.CASES,
    **benchmark_small.CASES,
    **benchmark_input.CASES,
}
# Beginnings of the names of each group's cases.
GROUPS: dict[str, tuple[str, ...]] = {
    "attention": ("attention",),
    "pyramid": ("DeepFillv2", "pyramid"),
    "hole": ("hole",),
    "training": ("step",),
    "small": ("small",),
    "data": ("input",),
    "export": ("export",),
}


class Measured(NamedTuple):
    """The cost of a case.

    Attributes:
        seconds: median of `runs`.
        runs: seconds of each timed run.
        megabytes: peak memory of the process, less what it held before the first run.
    """

    seconds: float
    runs: list[float]
    megabytes: float


class Target(NamedTuple):
    """Upper bound of a case's time relative to its baseline, or of its megabytes without one."""

    case: str
    baseline: str | None
    at_most: float


TARGETS = [
    Target("attention 1024", "attention 1024, literal", 1 / 10),
    Target("attention 1024", None, 600),
    Target("attention 2048", None, 1500),
    Target("pyramid 512", "DeepFillv2 512, literal", 0.5),
    Target("pyramid 512", "DeepFillv2 512, pasting by a product", 1),
    Target("pyramid 1024", "DeepFillv2 1024, literal", 0.2),
    Target("pyramid 1024", "DeepFillv2 1024, pasting by a product", 0.5),
    Target("pyramid 2048", None, 5000),
    Target("pyramid 4096", None, 12000),
    Target("hole of 300 px in 2048", "hole of 300 px in 2048, whole image", 1 / 4),
    Target("step 256, batch 4", "step 256, batch 4, literal, two passes", 0.75),
    Target("step 512, attention at once", "step 512, attention in tiles", 0.8),
    Target("export: fill 512, SavedModel", "export: fill 512, Python", 1.05),
    Target("input: read, decode, crop", "input: a training step", 1 / 5),
]


def measure(name: str, most_runs: int = 7, seconds: float = 20.0) -> Measured:
    """Runs a case once to warm up, then several times.

    If the first run takes longer than `seconds`, it is the only one and counts.

    Args:
        name: of the case.
        most_runs: maximum number of timed runs.
        seconds: no run begins after this time.
    """
    tf.get_logger().setLevel("ERROR")
    run = CASES[name]()
    before = process_megabytes("VmRSS")
    runs = [_timed(run)]
    if runs[0] < seconds:
        begin, runs = time.perf_counter(), []
        while not runs or (len(runs) < most_runs and time.perf_counter() - begin < seconds):
            runs.append(_timed(run))
    return Measured(statistics.median(runs), runs, process_megabytes("VmHWM") - before)


def _timed(run: Callable[[], tf.Tensor]) -> float:
    begin = time.perf_counter()
    run().numpy()
    return (time.perf_counter() - begin) / getattr(run, "times", 1)


def process_megabytes(name: str) -> float:
    """Memory of this process; `ru_maxrss` would include that of the parent process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status must have {name}; this needs Linux")


def reached(measured: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float, float]]:
    """Name, measured value and bound of each target whose cases were all measured."""
    for case, baseline, at_most in TARGETS:
        if {case, baseline or case} - set(measured):
            continue
        if baseline is None:
            yield f"MB of {case}", measured[case]["megabytes"], at_most
        else:
            ratio = measured[case]["seconds"] / measured[baseline]["seconds"]
            yield f"time of {case} / {baseline}", ratio, at_most


def report(measured: Mapping[str, Mapping[str, Any]], machine: str) -> str:
    """The measurements as Markdown."""
    seconds = {name: x["seconds"] for name, x in measured.items()}
    rates = benchmark_input.rates(seconds) | benchmark_small.rates(seconds)
    costs = [(name, x["seconds"], len(x["runs"]), x["megabytes"]) for name, x in measured.items()]
    steps = benchmark_training.steps(measured)
    columns = ("a step: seconds of", *next(iter(steps.values()), {}))
    tables = [
        _table(("case", "seconds", "runs", "MB"), costs),
        _table(("", "images/s"), rates.items()),
        _table(columns, ((name, *x.values()) for name, x in steps.items())),
        _table(("", "reached", "target: at most"), reached(measured)),
    ]
    shown = "\n\n".join(filter(None, tables))
    return f"""\
Measured by `make benchmark` on {machine}.

- Width {benchmark_network.WIDTH}, float32, and a centre hole of 25 % unless noted.
- Seconds are the median.
- MB are the process's growth at its peak; for the training step of the input group, after its
  first run.
- The input of a step is made while the step before runs. "backward" goes through the discriminators
  too. "rest" is what the whole step takes besides: updates, norms, moving averages.

{shown}
"""


def _table(headers: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    shown = [
        (name, *(f"{x:,.0f}" if x >= 100 else f"{x:.3g}" for x in values)) for name, *values in rows
    ]
    if not shown:
        return ""
    columns = ("left", *["right"] * (len(headers) - 1))
    return tabulate([headers, *shown], "firstrow", "pipe", disable_numparse=True, colalign=columns)


def main(argv: list[str]) -> None:
    """Measures the groups that are named, or all, and writes the files."""
    groups = argv[1:]
    for group in groups:
        check_choice("group", tuple(GROUPS), group)
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}, TensorFlow {tf.__version__})"
    files = {f"benchmark_{group}": GROUPS[group] for group in groups}
    for file, prefixes in (files or {"benchmark": ("",)}).items():
        measured = _measure_all([name for name in CASES if name.startswith(prefixes)])
        steps = benchmark_training.steps(measured)
        result = {"machine": machine, "measured": measured} | ({"steps": steps} if steps else {})
        text = report(measured, machine)
        folder = Path(flags.FLAGS.output)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{file}.json", json.dumps(result, indent=2).encode() + b"\n")
        write_atomically(folder / f"{file}.md", text.encode())
        print(f"\n{text}")


def _measure_all(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Measures cases, each in a process of its own, and prints them."""
    measured = {}
    for name in names:
        limits = benchmark_training.LIMITS if name in benchmark_training.CASES else {}
        # A pool raises if the system kills its process for lack of memory.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            measured[name] = pool.submit(measure, name, **limits).result()._asdict()
        seconds, megabytes = measured[name]["seconds"], measured[name]["megabytes"]
        print(f"{name:<45}{seconds:9.3g} s{megabytes:10,.0f} MB", flush=True)
    return measured


def _define_flags() -> None:
    flags.DEFINE_string("output", "experiments/results", "Folder for the files.")


if __name__ == "__main__":
    program.run(main, _define_flags, "finished groups were written")
