# Every target that needs .venv depends on its stamp, so the environment is made when it is needed.
# All paths are relative: make cannot depend on a path with a space, and a clone may lie
# under one.

# Evaluation and ablation have their own default dataset.
GIVEN_DATASET := $(DATASET)
export GIVEN_DATASET RUN PROTOCOL SCALE SEEDS OUTPUT FORMAT
# `make ablation layers fusion`: these goals only name what to compare.
GROUPS = layers fusion dilation further

# The paper's datasets are trained with the paper's configuration.
ifeq ($(DATASET),places2)
CONFIG ?= experiments/configs/places2.py
else ifeq ($(DATASET),places2/challenge_large)
CONFIG ?= experiments/configs/places2.py
else ifeq ($(DATASET),celeba_hq)
CONFIG ?= experiments/configs/celeba_hq.py
endif
CONFIG ?= experiments/configs/small.py
# Any other config names its own dataset, which DATASET overrides.
ifeq ($(CONFIG),experiments/configs/small.py)
DATASET ?= samples
endif
# Recipes read these from the environment, so that no character of a path needs escaping.
export CONFIG DATASET STEPS MINUTES

VENV_PYTHON = .venv/bin/python
STAMP = .venv/.installed

# Sets $python to the first suitable interpreter, or prints why there is none. Candidates are
# run, because the shim of a version manager can exist and still fail.
FIND_PYTHON = \
	python=; tried=; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",python3.11 python3.10 python3); do \
	  if ! command -v "$$candidate" >/dev/null 2>&1; then \
	    version='not found'; \
	  elif ! version=$$("$$candidate" -c 'import platform; print(platform.python_version())' 2>/dev/null); then \
	    version='does not run'; \
	  elif ! "$$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 12))'; then \
	    :; \
	  elif ! "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then \
	    version="$$version without the venv module"; \
	  else \
	    python=$$candidate; break; \
	  fi; \
	  tried="$$tried$${tried:+, }$$candidate ($$version)"; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "pgi needs Python 3.10 or 3.11 with the venv module. Tried: $$tried." >&2; \
	  echo 'Install one (Debian 12: apt-get install python3.11-venv; macOS: brew install python@3.11)' >&2; \
	  echo 'or name one that is not on the PATH: make PYTHON=/path/to/python3.11' >&2; \
	  exit 1; \
	fi

.PHONY: help venv train ablation $(GROUPS) evaluate export demo data check-data benchmark lint format type test test-all lock clean

help:
	@echo 'make train   train, by default about 5 minutes on the sample photographs:'
	@echo '             [DATASET=samples] [STEPS=...] [CONFIG=experiments/configs/small.py] [ARGS=...]'
	@echo '             MINUTES=... stops early; the same command continues the run'
	@echo "             DATASET='folder:/my photographs' trains on the images of a folder;"
	@echo '             DATASET=photos, places2, celeba_hq, div2k, flist:FILE, tfds:NAME: docs/DATA.md'
	@echo 'make ablation [layers] [fusion] [dilation] [further]'
	@echo '             train and compare variants of the paper, by default all: about 25 minutes'
	@echo '             [SCALE=tiny|small|paper] [SEEDS=1] [DATASET=...] [ARGS=--variant=pg]'
	@echo 'make demo    fill photographs in the browser, at http://127.0.0.1:7860:'
	@echo '             [RUN=runs/small_samples] [ARGS=--port=...]'
	@echo 'make evaluate'
	@echo '             compare models, baselines and others'\'' results on the same crops and'
	@echo '             masks: [RUN=...] [DATASET=...] [PROTOCOL=paper|standard|raw|hole] [ARGS=...]'
	@echo 'make export  export a model for TensorFlow Serving: [RUN=...] [OUTPUT=export/NAME]'
	@echo '             [FORMAT=saved_model|onnx|tflite] [ARGS=...]'
	@echo '             Without RUN, these three take the weights that ship with pgi.'
	@echo 'make data DATASET=photos'
	@echo '             fetch and prepare a dataset [ARGS=--manual_dir=...]'
	@echo 'make check-data DATASET=photos'
	@echo '             read all its images, draw a sheet of them with masks [ARGS=--most=...]'
	@echo 'make benchmark'
	@echo '             measure speed and memory, about 40 minutes [ARGS=attention|pyramid|hole|training|small|data|export]'
	@echo 'make test    run the quick tests, about 4 minutes [PYTEST_ARGS=...]'
	@echo 'make test-all'
	@echo '             run all tests, except those that need the network [PYTEST_ARGS=...]'
	@echo 'make lint    check style and formatting'
	@echo 'make type    check types'
	@echo 'make format  format, and fix what can be fixed'
	@echo 'make venv    only make .venv, as all commands above do: about 80 s, 3.2 GB [PYTHON=...]'
	@echo 'make lock    write constraints.txt after a change of setup.cfg [LOCK_ARGS=--upgrade]'
	@echo 'make clean   remove .venv and the caches'

venv: $(STAMP)
	@:

# The stamp is written last. An environment without it was interrupted and is made again from
# scratch.
$(STAMP): setup.cfg setup.py constraints.txt
	@$(FIND_PYTHON); \
	echo "Making .venv with $$python ($$version); the download takes a minute or two."; \
	"$$python" -m venv --clear .venv || exit 1; \
	if ! $(VENV_PYTHON) -m pip install -qq --disable-pip-version-check --use-pep517 \
	    --constraint constraints.txt --editable '.[dev]'; then \
	  echo 'The dependencies could not be installed; the reason is above. If the network was' >&2; \
	  echo 'down, run make again.' >&2; \
	  exit 1; \
	fi
	@touch $@

train: $(STAMP)
	@$(VENV_PYTHON) -m experiments.train --config="$$CONFIG" \
	  $${DATASET:+"--config.data.dataset=$$DATASET"} \
	  $${STEPS:+"--config.train.steps=$$STEPS"} \
	  $${MINUTES:+"--config.train.minutes=$$MINUTES"} $(ARGS)

ablation: $(STAMP)
	@$(VENV_PYTHON) -m experiments.ablation $${SCALE:+"--scale=$$SCALE"} \
	  $${SEEDS:+"--seeds=$$SEEDS"} $${GIVEN_DATASET:+"--dataset=$$GIVEN_DATASET"} \
	  $(filter $(GROUPS),$(MAKECMDGOALS)) $(ARGS)

$(GROUPS):
	@$(if $(filter ablation,$(MAKECMDGOALS)),:,echo 'a part of: make ablation $@' >&2; exit 1)

evaluate: $(STAMP)
	@$(VENV_PYTHON) -m experiments.evaluate $${RUN:+"--run=$$RUN"} \
	  $${GIVEN_DATASET:+"--dataset=$$GIVEN_DATASET"} $${PROTOCOL:+"--protocol=$$PROTOCOL"} $(ARGS)

export: $(STAMP)
	@$(VENV_PYTHON) -m pgi export $${RUN:+"--run=$$RUN"} $${OUTPUT:+"--output=$$OUTPUT"} \
	  $${FORMAT:+"--format=$$FORMAT"} $(ARGS)

demo: $(STAMP)
	@$(VENV_PYTHON) -m pgi demo $${RUN:+"--model=$$RUN"} $(ARGS)

data: $(STAMP)
	@$(VENV_PYTHON) -m data.prepare --dataset="$$DATASET" $(ARGS)

check-data: $(STAMP)
	@$(VENV_PYTHON) -m data.check --config="$$CONFIG" --dataset="$$DATASET" $(ARGS)

benchmark: $(STAMP)
	@$(VENV_PYTHON) -m experiments.benchmark $(ARGS)

lint: $(STAMP)
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .

format: $(STAMP)
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

type: $(STAMP)
	$(VENV_PYTHON) -m mypy

test: $(STAMP)
	$(VENV_PYTHON) -m pytest -n 2 --dist worksteal -m 'not slow and not network' $(PYTEST_ARGS)

test-all: $(STAMP)
	$(VENV_PYTHON) -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

# Uses its own environment, because .venv is made from the file that this writes. Pins that still
# fit are kept, unless LOCK_ARGS=--upgrade.
lock:
	@$(FIND_PYTHON); \
	"$$python" -m venv --clear build/lock
	@build/lock/bin/python -m pip install -qq --disable-pip-version-check uv
	@build/lock/bin/python -m uv pip compile --quiet --universal --python-version 3.10 \
	  --no-python-downloads --all-extras --annotation-style line \
	  --custom-compile-command 'make lock' --output-file constraints.txt $(LOCK_ARGS) setup.cfg
	@rm -rf build/lock

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
