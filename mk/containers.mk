# Images, the compose stack, Airflow on this machine, and Kubeflow.
COMPOSE := docker compose --env-file .env --file docker/compose.yaml
AIRFLOW_HOME ?= $(CURDIR)/.airflow
KFP := .venv-kfp

.PHONY: images sbom up down airflow test-containers kubeflow

$(VENV)/.installed-orchestrate: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	$(PIP) -e '.[data,train,registry,pipeline,orchestrate]'
	@$(call compile,$(VENV))
	touch $@

images: ## Build the container images (Docker, else Podman)
	$(PYTHON) scripts/images.py

sbom: ## List what the images hold in build/sbom (CycloneDX)
	$(PYTHON) scripts/sbom.py

.env:
	umask 077; $(PYTHON) scripts/make_env.py > $@.new
	mv $@.new $@

# The engine would make the folder as root's.
up: .env ## Start Airflow, MLflow, and PostgreSQL on loopback
	@folder=$$(sed -n 's/^LONGTAIL_HOME=//p' .env); mkdir -p "$$folder"; \
	  [ "$$(id -u)" != 0 ] || chown "$$(sed -n 's/^LONGTAIL_UID=//p' .env)" "$$folder"
	$(COMPOSE) up --detach --wait

down: ## Stop the containers and keep their volumes
	$(COMPOSE) down

airflow: $(VENV)/.installed-orchestrate ## Start Airflow with the DAGs, on loopback
	AIRFLOW_HOME="$(AIRFLOW_HOME)" $(RUN) $(BIN)/python scripts/standalone.py

test-containers: $(VENV)/.test ## Run the nightly DAG in containers, from a bare machine
	$(BIN)/python scripts/podman.py install
	status=0; $(RUN) $(BIN)/python -m pytest -q -rs --timeout=1800 --durations=10 -m containers tests/containers || status=$$?; \
	  [ -n "$${KEEP_IMAGES:-}" ] || $(BIN)/python scripts/podman.py purge; exit $$status

$(KFP)/.installed: docker/constraints-kubeflow.txt | $(KFP)/bin/python
	$(KFP)/bin/python $(PIP_INSTALL) -c docker/constraints-kubeflow.txt kfp kfp-kubernetes docker PyYAML
	@$(call compile,$(KFP))
	touch $@

kubeflow: $(KFP)/.installed ## Compile the Kubeflow pipeline to build/kubeflow.yaml
	mkdir -p build
	PYTHONPATH="$(CURDIR)" $(KFP)/bin/python -m dags.kubeflow_pipeline build/kubeflow.yaml

# Without it, the test that compiles the pipeline would be skipped.
test-slow: $(KFP)/.installed
