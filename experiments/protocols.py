"""Compares the formulas and masks that the paper may have used; needs no model.

    python -m experiments.protocols RESULTS.csv.gz [MORE.csv.gz ...]

Joins the results, prints what they hold under each candidate beside the paper's numbers, and writes
it to `protocols.md`, by default beside the first file.
"""

from __future__ import annotations

from experiments import program
from experiments.report import protocols, results_files
from pgi.atomic import write_atomically


def main(argv: list[str]) -> None:
    """Compares the candidates on the named files."""
    found, folder = results_files.read(argv)
    text = protocols.report(found)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "protocols.md", text.encode())
    print(text)


if __name__ == "__main__":
    program.run(main, results_files.define_output, "no comparison was written")
