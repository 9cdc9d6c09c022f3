# The champion over HTTP, as MLflow serves it.
SERVE_PORT ?= 5001

.PHONY: serve

# Waiting threads sleep instead of spinning: a loaded machine answers ten times as fast.
serve: $(VENV)/.run ## The champion on http://127.0.0.1:5001 (SERVE_PORT=…)
	@echo "Once it runs, ask it (params are optional):"
	@echo "  curl -H 'Content-Type: application/json' http://127.0.0.1:$(SERVE_PORT)/invocations \\"
	@echo "    -d '{\"inputs\": {\"text\": [\"A viewer for PNG images.\"]}, \"params\": {\"top_k\": 3, \"threshold\": 0.2}}'"
	$(RUN) MLFLOW_TRACKING_URI="$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" \
	  MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false OMP_WAIT_POLICY=PASSIVE \
	  mlflow models serve --model-uri models:/longtail@champion --env-manager local \
	  --host 127.0.0.1 --port $(SERVE_PORT)
