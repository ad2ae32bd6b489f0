# Every target that needs the environment makes it first; nothing but Python ≥ 3.11 and make has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
SEED ?= 0
N ?= 10000
DATA ?= data/freihand
GPU_PYTHON ?= python3.12
# when targets run, not when this file is read: the demo may be made by the same call
FINISHED = $(patsubst %/,%,$(dir $(wildcard runs/rendered/demo/results.json)))
HANDS = data/rendered-5000x2-1000-112px
REPORTED = $(or $(RUN),$(FINISHED),$(error nothing to report on: `make demo` first, or give RUN=folder))
SUDO = $(if $(filter-out 0,$(shell id -u)),sudo)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint types bench fuzz gpu pretrain finetune evaluate report browser clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with the pinned versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"peclr needs Python 3.11 or later; this is {sys.version}")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## Render hands, pre-train with SimCLR and PeCLR, compare (≤ 10 minutes on 2 cores; SEED=0; again, to go on)
	$(BIN)/python -m experiments.rendered.run demo --seeds $(SEED)

test: setup  ## Run the tests
	$(BIN)/python -m pytest --numprocesses 2

test-slow: setup  ## Run the tests that start and kill processes
	$(BIN)/python -m pytest -m slow

lint: setup  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## Check types
	$(BIN)/mypy

fuzz: setup  ## Give damaged files to every reader (SEED=0 N=10000)
	$(BIN)/python -m tests.fuzz --seed $(SEED) --count $(N)

bench: setup  ## Measure speed; table and runs/bench.json
	$(BIN)/python -m tests.benchmarks.run

gpu: setup  ## Prove and measure what only a GPU can (DRY=1: pack it for a GPU elsewhere, and try all of it on the CPU)
	$(if $(DRY),$(BIN)/python -m tests.gpu.carry pack && $(BIN)/python -m tests.gpu.carry dry --python=$(GPU_PYTHON),$(BIN)/python -m tests.gpu)

pretrain: setup  ## Pre-train PeCLR on FreiHAND (DATA=path)
	$(BIN)/python -m peclr fit --config experiments/pretrain_peclr.yaml --data.root=$(DATA)

finetune: setup  ## Fine-tune on labeled FreiHAND (DATA=path WEIGHTS=pre-training checkpoint)
	$(BIN)/python -m peclr fit --config experiments/finetune.yaml --data.root=$(DATA) $(if $(WEIGHTS),--model.weights=$(WEIGHTS))

evaluate: setup  ## Score a fine-tuned run as the FreiHAND leaderboard does (DATA=path RUN=folder or checkpoint)
	$(BIN)/python -m peclr evaluate $(RUN) --data $(DATA)

report: setup  ## One page of tables, curves and hands to turn (RUN=folder DATA=path; default: the demo)
	$(BIN)/python -m peclr report $(REPORTED) --evaluate keypoints --data $(if $(RUN),$(DATA),$(HANDS)) --force --out $(REPORTED)/report.html

browser:  ## Install Debian's chromium, in which a test opens the report (needs root or sudo)
	command -v chromium || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install --yes --no-install-recommends chromium; }

clean:  ## Remove the environment and the caches (runs and data stay)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
