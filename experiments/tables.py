"""Makes the paper's tables from results tables; needs no model.

    python -m experiments.tables RESULTS.csv.gz [MORE.csv.gz ...]
    python -m experiments.tables RESULTS.csv.gz --protocol=standard --output=docs

Joins the results, prints the tables and writes them to `tables.md`, by default beside the first
file.
"""

from __future__ import annotations

from absl import flags

from experiments import program
from experiments.report import results_files, tables
from pgi.atomic import write_atomically


def main(argv: list[str]) -> None:
    """Makes the tables of the named files."""
    found, folder = results_files.read(argv)
    text = tables.report(found, flags.FLAGS.protocol)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "tables.md", text.encode())
    print(text)


if __name__ == "__main__":
    program.run(main, results_files.define_flags, "no tables were written")
