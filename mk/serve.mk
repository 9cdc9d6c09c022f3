# The champion over HTTP, served by MLflow.
SERVE_PORT ?= 5001

.PHONY: serve

serve: $(VENV)/.run ## Serve the champion on http://127.0.0.1:5001 (SERVE_PORT=…)
	@$(RUN) longtail serve --port $(SERVE_PORT)
