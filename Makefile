# Plain `make` lists the targets. Every target installs what it needs into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPARK := .venv-spark
# As if .venv were activated, so that `python` in dvc.yaml is this one.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
PIP_INSTALL := -m pip install --quiet --no-compile --disable-pip-version-check
PIP := $(BIN)/python $(PIP_INSTALL) -c constraints.txt
# pip would compile on one core. As pip does, pass over files that this Python cannot read.
compile = $(1)/bin/python -m compileall -qq -j 0 $(1)/lib || true

export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export HF_HUB_DISABLE_TELEMETRY := 1
export GX_ANALYTICS_ENABLED := false
export TOKENIZERS_PARALLELISM := false

.PHONY: help run test test-slow test-gpu test-spark lint ui encoder-base clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# The pip that comes with Python may take three times as long to find what suits what.
%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "longtail needs Python 3.11 or newer; pass one: make PYTHON=python3.12 run")'
	$(PYTHON) -m venv $*
	$*/bin/python $(PIP_INSTALL) -c constraints.txt --upgrade pip

# torch is pinned exactly: plain `torch` may pull in gigabytes of CUDA.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the pipeline into $(VENV) (about 1.5 GB) ..."
	$(PIP) torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	$(PIP) -e '.[data,train,registry,pipeline]'
	@$(call compile,$(VENV))
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "Installing what the tests need ..."
	$(PIP) -e '.[data,train,registry,pipeline,orchestrate,s3,lineage,dev]'
	@$(call compile,$(VENV))
	@touch $@

run: $(VENV)/.run ## Run everything, from data to a decision and a report; PROFILE=full fine-tunes
	@$(RUN) longtail run $(if $(filter full,$(PROFILE)),--profile finetune)

ui: $(VENV)/.run ## Start the MLflow UI on http://127.0.0.1:5000
	$(RUN) mlflow server --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" --host 127.0.0.1 --port 5000

encoder-base: | $(BIN)/python ## Fetch an encoder of five times the size, for train.encoder
	$(BIN)/python scripts/encoder_base.py

# Several processes, with a thread each: most tests wait for others. tests/conftest.py orders the files.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -q -rs --dist loadfile --no-loadscope-reorder --durations=30

test: $(VENV)/.test ## Run the fast tests
	$(RUN) $(PYTEST) -n 2

# Some slow tests need a browser, npm (for axe-core), PostgreSQL's server (without the cluster that
# Debian would start for it), or a C compiler (for the clock of the fault campaign).
$(VENV)/.debian: | $(VENV)/.test
	@missing=(); need() { if ! command -v $$1 >/dev/null; then missing+=("$${@:2}"); fi; }; \
	need chromium chromium; need npm npm; need cc gcc libc6-dev; \
	PATH="$$PATH:$$(echo /usr/lib/postgresql/*/bin)" need postgres postgresql; \
	if [ $${#missing[@]} = 0 ]; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  mkdir -p /etc/postgresql-common; \
	  echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf; \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends "$${missing[@]}" >/dev/null && touch $@; \
	else echo "Not installed: $${missing[*]}. The tests that need them will be skipped."; fi

test-slow: $(VENV)/.test $(VENV)/.debian ## Run the slow tests
	$(RUN) $(PYTEST) -m slow -n 3

test-gpu: $(VENV)/.test ## Run the tests that need a CUDA device
	$(RUN) python -m pytest -q -rs -m gpu

# In an environment of its own: pyspark's 450 MB, and a JVM, are for those who have a cluster.
$(SPARK)/.installed: pyproject.toml constraints.txt | $(SPARK)/bin/python
	$(SPARK)/bin/python $(PIP_INSTALL) -c constraints.txt torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	$(SPARK)/bin/python $(PIP_INSTALL) -c constraints.txt -e '.[data,train,registry,spark,s3,dev]'
	@$(call compile,$(SPARK))
	@touch $@

test-spark: $(SPARK)/.installed ## Run the tests that need pyspark and Java 17
	PATH="$(CURDIR)/$(SPARK)/bin:$$PATH" python -m pytest -q -rs -m slow tests/components/_registry/test_spark.py

lint: $(VENV)/.test ## Check style and types
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

clean: ## Remove build output and caches; data, models and the registry stay
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

include mk/*.mk
