"""Packaging as its user meets it: the command in the card, and what is not packaged."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from experiments.package_weights import training_command
from pgi.config import DataConfig, ExperimentConfig, from_dict, to_dict
from pgi.errors import RuleError
from pgi.training.weights_file import find
from tests.tiny_run import CONFIG, write_run

ROOT = Path(__file__).parents[2]
# As `python -m experiments.package_weights`, with another folder in the package's place.
PROGRAM = """
import sys
from pathlib import Path
from experiments import package_weights, program
from pgi import weights
weights.FOLDER = Path(sys.argv.pop(1))
program.run(package_weights.main, package_weights._define_flags, "start again")
"""


def package(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", PROGRAM, str(folder / "package"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def write_named_run(folder: Path, initial_weights: str = "") -> None:
    """A run of the small recipe's name, on a list of files of this machine."""
    write_run(folder)
    data = DataConfig(dataset="flist:/home/someone/list.txt")
    config = dataclasses.replace(
        CONFIG,
        name="small",
        data=data,
        train=dataclasses.replace(CONFIG.train, initial_weights=initial_weights),
    )
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"config": to_dict(config)}))


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # Of ml_collections.
@pytest.mark.parametrize("name", ["small", "places2", "paper_512"])
def test_the_training_command_gives_the_config(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = dataclasses.replace(CONFIG.model, levels=(64, 128), drop_coarse=True)
    train = dataclasses.replace(
        CONFIG.train, learning_rate=3e-4, stage_shares=(0.5, 0.5), initial_weights="runs/a b"
    )
    config = dataclasses.replace(CONFIG, name=name, model=model, train=train)
    monkeypatch.chdir(ROOT)
    program, module, experiment, *arguments = shlex.split(training_command(config))
    assert (program, module, experiment) == ("python", "-m", "experiments.train")
    parsed = flags.FlagValues()
    line = ["train", *arguments]
    config_flags.DEFINE_config_file("config", flag_values=parsed, sys_argv=line)
    parsed(line)
    found = from_dict(to_dict(parsed.config))
    assert isinstance(found, ExperimentConfig) and found == config


def test_a_config_of_no_file_has_no_command() -> None:
    with pytest.raises(RuleError, match=r"config's name must be one of those in .*small.*'tiny'"):
        training_command(CONFIG)


@pytest.mark.slow
def test_a_run_is_packaged_without_places_of_this_machine(tmp_path: Path) -> None:
    write_named_run(tmp_path / "first")
    first = str(tmp_path / "first" / "checkpoints" / "step-1")
    write_named_run(tmp_path / "run", initial_weights=first)
    step_1 = tmp_path / "run" / "checkpoints" / "step-1"
    options = ("--name=little", "--dataset=photos", "--hours=9.5", "--limit=No clouds, ever.")
    result = package(tmp_path, f"--run={step_1}", *options)
    assert result.returncode == 0, result.stderr
    made = find(tmp_path / "package" / "little")
    assert made.sha256 in result.stdout
    config = made.run.read_config()
    assert (config.name, config.data.dataset) == ("little", "photos")
    card = (made.run.path / "MODEL_CARD.md").read_text()
    both = card + (made.run.path / "config.json").read_text()
    assert "someone" not in both and str(tmp_path) not in both
    for text in (
        *("- No clouds, ever.", "Apache-2.0", "data/photos/photographs.json", "9.5 hours"),
        "--config.train.initial_weights=runs/first/checkpoints/step-1",
        "--run=runs/run/checkpoints/step-1 --name=little --dataset=photos --hours=9.5",
    ):
        assert text in card, text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ("", ["--hours=1"], "--dataset must be a dataset whose images' licence is recorded"),
        ("", ["--dataset=photos"], "--hours must be positive, got None"),
        ("deepfillv2:snap-0", ["--hours=1", "--dataset=photos"], "--run must be trained here from"),
        ("FIRST", ["--hours=1", "--dataset=photos"], "--run must be trained here from"),
        ("nowhere", ["--hours=1", "--dataset=photos"], "nowhere is neither a run folder nor"),
        ("", ["--hours=1", "--dataset=photos"], "cannot be stored as float16"),
    ],
)
def test_what_cannot_be_packaged_is_one_line(
    tmp_path: Path, train: str, options: list[str], message: str
) -> None:
    write_named_run(tmp_path / "first", initial_weights="deepfillv2:snap-0")
    write_named_run(tmp_path / "run", train.replace("FIRST", str(tmp_path / "first")))
    result = package(tmp_path, f"--run={tmp_path / 'run'}", *options)
    assert result.returncode == 2 and message in result.stderr.splitlines()[-1], result.stderr
    assert not (tmp_path / "package").exists()
