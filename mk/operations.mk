# What is there, and what can go.
.PHONY: status prune

status: $(VENV)/.run ## Show the champion, the last nights, what waits, what is held, and disk use
	@AIRFLOW_HOME="$(AIRFLOW_HOME)" $(RUN) python -m scripts.status

prune: $(VENV)/.run ## Show what nobody needs any more; APPLY=1 removes it
	@AIRFLOW_HOME="$(AIRFLOW_HOME)" $(RUN) python -m scripts.prune $(if $(APPLY),--apply)
