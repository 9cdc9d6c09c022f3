# The champion over HTTP, as MLflow serves it.
SERVE_PORT ?= 5001

.PHONY: serve

serve: $(VENV)/.run ## The champion on http://127.0.0.1:5001 (SERVE_PORT=…)
	@$(RUN) longtail serve --port $(SERVE_PORT)
