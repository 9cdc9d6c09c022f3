"""Orchestration: loops over the stages that `dvc.yaml` declares."""
