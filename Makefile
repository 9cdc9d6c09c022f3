# Plain `make` prints what there is. Every target installs what it needs, in .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# An activated environment, so that `python` in dvc.yaml is this one.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)"
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export HF_HUB_DISABLE_TELEMETRY := 1
export GX_ANALYTICS_ENABLED := false
export TOKENIZERS_PARALLELISM := false

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "longtail needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# torch is named exactly: a plain `torch` may bring gigabytes of CUDA.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the pipeline into $(VENV) ..."
	$(PIP) torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	$(PIP) -e '.[data,train,registry,pipeline]'
	touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "Installing what the tests need ..."
	$(PIP) -e '.[data,train,registry,pipeline,orchestrate,dev]'
	touch $@

data/corpus.parquet: | $(VENV)/.run
	$(RUN) dvc pull --quiet data 2>/dev/null || { $(RUN) python -m components.ingest auto && $(RUN) dvc add --quiet data; }

.PHONY: run
run: $(VENV)/.run data/corpus.parquet ## From nothing to a registered model, a decision and a report (PROFILE=full fine-tunes)
ifeq ($(PROFILE),full)
	$(RUN) python -m components._profile_switch
endif
	$(RUN) dvc repro
	$(RUN) python -m components.register
	$(RUN) python -m components.promote decide && $(RUN) python -m components.promote apply || test $$? -eq 4

.PHONY: ui
ui: $(VENV)/.run ## MLflow's pages on http://127.0.0.1:5000
	$(RUN) mlflow server --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db} --host 127.0.0.1 --port 5000
