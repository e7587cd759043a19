"""Draws the paper's Figures 6 and 7 from results tables; needs no model.

python -m experiments.figures RESULTS.csv.gz [MORE.csv.gz ...]
"""

from __future__ import annotations

from absl import flags

from experiments import program
from experiments.report import figures, results_files
from pgi.rules import check


def main(argv: list[str]) -> None:
    """Draws the figures that the results have the numbers for."""
    results, output = results_files.read(argv)
    protocol = flags.FLAGS.protocol
    written = figures.draw(results, output, protocol)
    rule = (
        f'measured by protocol "{protocol}" under several of the masks ratio_15 to ratio_55, or at '
        "several sizes under center on the same photographs"
    )
    check("results", rule, bool(written), list(results.titles()))
    print("\n".join(map(str, written)))


if __name__ == "__main__":
    program.run(main, results_files.define_flags, "the same command draws them again")
