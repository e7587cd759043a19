"""Trains a run that is killed again and again and one that is not, and compares their ends.

    python -m experiments.soak                                      about an hour on two cores
    python -m experiments.soak --steps=240 --interval=20 --kills=3  some minutes

Both are trainings of `samples` by the same command, side by side. One of them gets signals at
random moments: while it starts, while it trains, while it saves. Exit status: 0 if both have the
same metrics, pictures and checkpoints, to the bit, and every process ended with the status that
`experiments.program` documents; else 1. The run folders and each process's output stay in
`--workdir`.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from absl import flags
from tabulate import tabulate

from experiments import program
from experiments.run_difference import differences
from experiments.soak_process import Training, plan, started
from pgi.atomic import write_atomically
from pgi.provenance import provenance
from pgi.rules import check


def main(argv: list[str]) -> int:
    """Trains both runs, compares them, and writes `soak.json`."""
    program.no_arguments(argv)
    values = flags.FLAGS
    steps, interval, workdir = values.steps, values.interval, Path(values.workdir)
    check("steps", "at least 6 intervals", steps >= 6 * interval, steps)
    check("workdir", "a folder that does not exist yet", not workdir.exists(), workdir)
    workdir.mkdir(parents=True)
    # In the background of a script Ctrl-C is ignored, which the trainings would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    whole, disturbed = (Training(workdir / x, steps, interval) for x in ("whole", "disturbed"))
    lives, begin = [], time.monotonic()
    with started(whole.command, workdir / "whole.log") as process:
        for number, planned in enumerate([*plan(values.kills, steps, interval, values.seed), None]):
            lives.append({"number": number, **disturbed.live(number, planned)})
            print(json.dumps(lives[-1]), flush=True)
        minutes = (time.monotonic() - begin) / 60
        whole.wait(process, lambda: False)
    problems = [f"process {x['number']}: {x['problem']}" for x in lives if x["problem"]]
    if process.returncode:
        problems.append(f"the undisturbed run ended with status {process.returncode}")
    elif not lives[-1]["status"]:
        problems += differences(whole.run.path, disturbed.run.path)
    result = {
        "made": provenance(),
        "flags": [x for x in disturbed.command if x.startswith("--config")],
        "seed": values.seed,
        "minutes": round(minutes, 1),
        "problems": problems,
        "processes": lives,
    }
    output = Path(values.output)
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / "soak.json", json.dumps(result, indent=2).encode() + b"\n")
    shown = [{k: v for k, v in x.items() if k != "problem"} for x in lives]
    print(tabulate(shown, "keys", "pipe"))
    print(problems[0] if problems else f"No difference after {values.kills} signals")
    return int(bool(problems))


def _define_flags() -> None:
    flags.DEFINE_integer("steps", 50_000, "Training steps.", lower_bound=1)
    flags.DEFINE_integer("interval", 250, "Steps between two snapshots.", lower_bound=1)
    flags.DEFINE_integer("kills", 20, "Number of signals.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Seed of the signals' kinds and times.")
    flags.DEFINE_string("workdir", "runs/soak", "New folder for both runs.")
    flags.DEFINE_string("output", "experiments/results/soak", "Folder for soak.json.")


if __name__ == "__main__":
    program.run(main, _define_flags, "nothing was compared")
