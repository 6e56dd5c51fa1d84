# Nightshift. `make help` lists what there is to do; `make run` does all of it once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
HOME_FOLDER := $(if $(NIGHTSHIFT_HOME),$(NIGHTSHIFT_HOME),var)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_B1 := train_epoch
BENCH_B2 := shard_io ingest_rows
BENCH_B3 := replicate
BENCH_B4 := kill_training
BENCH_B5 := save_beside
BENCH_B6 := compressed pruned
BENCH_B7 := serve
BENCH_B9 := scrub_repair
BENCH_B11 := back_up
# What an image installs is a part of the lock; torch, which the lock leaves out, is PyPI's CUDA build there.
IMAGE_LOCK := --constraint requirements.lock --python 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes --no-header --no-annotate --quiet

# Without bytecode on disk every task process would compile Airflow, Great Expectations and torch again (20 s and more).
unexport PYTHONDONTWRITEBYTECODE
# A caller's own environment must not leak into this one.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
export NIGHTSHIFT_HOME NIGHTSHIFT_PORT_BASE

.PHONY: help setup base-model run status stop clean dr-demo containers backfill test lint test-faults test-ceph test-gpu test-oip test-e2e pictures bench lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv from the lock if it is not up to date (TORCH_INDEX=url for a CPU or CUDA build of torch)

$(STAMP): requirements.lock requirements-uv.lock pyproject.toml
	@PYTHON=$(PYTHON) TORCH_INDEX="$(TORCH_INDEX)" ./.ci/setup

base-model: $(STAMP) ## Fetch one more base model that recipes may adopt (NAME=smollm2-135m)
	@$(BIN)/python -m operators.local.base_model "$(NAME)"

run: $(STAMP) ## Platform up, the main job once with live progress, summary (DAY=2002-09-26 RECIPE=mail_triage PARAMS="epochs=1 ranks=2")
	@$(BIN)/python -m operators.local.run $(if $(RECIPE),--recipe "$(RECIPE)") $(if $(DAY),--day "$(DAY)") $(PARAMS:%=--param "%")

status: $(STAMP) ## Say what is up
	@$(BIN)/python -m operators.local.status

stop: ## End all of the platform
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m operators.local.stop; else echo "nothing is installed"; fi

clean: stop ## Stop, then remove .venv and all state
	@rm -rf $(VENV) $(HOME_FOLDER) *.egg-info

dr-demo: $(STAMP) ## Lose Airflow's database, two days of data and the live model; bring them back (YES=1 asks nothing; OWN=1: on this platform)
	@$(BIN)/python -m operators.local.dr_demo $(if $(YES),--yes) $(if $(OWN),--own-platform)

containers: $(STAMP) ## Make the secrets and settings that docker/compose.yaml mounts, in docker/platform
	@$(BIN)/python -m operators.local.containers

backfill: $(STAMP) ## Run the days FROM= to TO=, both inclusive (RECIPE=mail_triage); waits
	@$(BIN)/python -m operators.local.backfill --from "$(FROM)" --to "$(TO)" $(if $(RECIPE),--recipe "$(RECIPE)") $(PARAMS:%=--param "%")

test: $(STAMP) ## What CI runs: default and integration tests, a fixed share of faults and e2e
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not e2e and not slow and not gpu and not oip"
	$(BIN)/python -m pytest -q -m "e2e and not slow"

lint: $(STAMP) ## Style, types and the direction of imports
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-faults: $(STAMP) ## Every fault test
	@$(BIN)/python -m pytest -m faults

test-ceph: $(STAMP) ## The store against Ceph's object gateway, where Debian's packages of it are installed
	@$(BIN)/python -m pytest -m ceph

test-gpu: $(STAMP) ## Fine-tuning on one GPU, with what it measured; skipped, with the reason, where there is none
	@$(BIN)/python -m pytest -m gpu

test-oip: $(STAMP) .venv-bench-serving/.installed ## Model servers by Triton's client, and MLServer by the same requests
	@$(BIN)/python -m pytest -m oip

test-e2e: $(STAMP) ## Every test of the whole platform
	@$(BIN)/python -m pytest -m e2e

pictures: $(STAMP) ## Take the pictures of the docs anew, by the tests of the pages (Debian's chromium and chromium-driver)
	@NIGHTSHIFT_PICTURES="$(CURDIR)/docs/images" $(BIN)/python -m pytest -q tests/plugins/test_browser.py

bench: $(STAMP) .venv-bench/.installed .venv-bench-readers/.installed .venv-bench-mosaic/.installed .venv-bench-serving/.installed ## Measure against named rivals on an idle machine (ONLY=B3, BENCH="--pairs 3"); results in var/bench
	@for name in $(if $(ONLY),$(BENCH_$(ONLY)),$(BENCH_B1) $(BENCH_B2) $(BENCH_B3) $(BENCH_B4) $(BENCH_B5) $(BENCH_B6) $(BENCH_B7) $(BENCH_B9) $(BENCH_B11)); do $(BIN)/python -m tests.benchmarks.$$name $(BENCH); done

.venv-bench/.installed: tests/benchmarks/rivals.lock
	@$(PYTHON) -m venv .venv-bench
	VIRTUAL_ENV=$(CURDIR)/.venv-bench $(BIN)/uv pip install --quiet --require-hashes -r tests/benchmarks/rivals.lock
	touch .venv-bench/.installed

.venv-bench-serving/.installed: tests/benchmarks/serving.lock
	@$(PYTHON) -m venv .venv-bench-serving
	VIRTUAL_ENV=$(CURDIR)/.venv-bench-serving $(BIN)/uv pip install --quiet --require-hashes -r tests/benchmarks/serving.lock
	touch .venv-bench-serving/.installed

# torch as in .venv, by pip: see .ci/setup. The two do not resolve together.
.venv-bench-%/.installed: tests/benchmarks/%.lock
	@$(PYTHON) -m venv .venv-bench-$*
	.venv-bench-$*/bin/python -m pip install --quiet --no-compile \
	  "torch==$$($(BIN)/python -c 'import importlib.metadata as m; print(m.version("torch").split("+")[0])')" \
	  $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)")
	VIRTUAL_ENV=$(CURDIR)/.venv-bench-$* $(BIN)/uv pip install --quiet --no-deps --require-hashes -r tests/benchmarks/$*.lock
	touch .venv-bench-$*/.installed

lock: $(STAMP) ## Resolve requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --python 3.11 --extra airflow --extra cluster --extra local --extra dev \
	  --override tests/benchmarks/without_torch.txt --generate-hashes --output-file requirements.lock
	printf 'uv==%s\n' "$$($(BIN)/uv --version | cut -d' ' -f2)" | $(BIN)/uv pip compile - --python 3.11 --generate-hashes \
	  --no-header --output-file requirements-uv.lock
	for name in rivals serving; do $(BIN)/uv pip compile tests/benchmarks/$$name.in \
	  --python 3.11 --generate-hashes --no-header --quiet --output-file tests/benchmarks/$$name.lock; done
	for name in readers mosaic; do $(BIN)/uv pip compile tests/benchmarks/$$name.in --override tests/benchmarks/without_torch.txt \
	  --python 3.11 --generate-hashes --no-header --quiet --output-file tests/benchmarks/$$name.lock; done
	for name in airflow build server services; do $(BIN)/uv pip compile docker/images/$$name.in $(IMAGE_LOCK) --output-file docker/images/$$name.lock; done
	$(BIN)/uv pip compile pyproject.toml --extra airflow --extra cluster --extra train $(IMAGE_LOCK) --output-file docker/images/worker.lock
