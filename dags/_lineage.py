"""Tells OpenLineage what each stage reads and writes: set `[openlineage] extractors` to this class.

    AIRFLOW__OPENLINEAGE__EXTRACTORS=dags._lineage.StageExtractor

The datasets are the paths of `dvc.yaml`, the same every night, in the namespace `longtail`.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.openlineage.extractors import BaseExtractor, OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset

from components._frame.pipeline import load_stages
from dags._parcel import DATA, reads
from dags._settings import load_settings

NAMESPACE = "longtail"


class StageExtractor(BaseExtractor):
    """The data that a stage's files depend on, without its code, and the files that it makes."""

    @classmethod
    def get_operator_classnames(cls) -> list[str]:
        return ["ProcessOperator", "ContainerOperator", "PodOperator"]

    def _execute_extraction(self) -> OperatorLineage[Any, Any]:
        stages = {s.name: s for s in load_stages(load_settings().repo / "dvc.yaml")}
        name = self.operator.task_id.removeprefix("stages.")
        inputs = (reads(name, stages.values()) or []) if name in stages else []
        outputs = stages[name].outs if name in stages else (DATA,) * (name == "ingest")
        return OperatorLineage(
            inputs=[InputDataset(NAMESPACE, path) for path in inputs],
            outputs=[OutputDataset(NAMESPACE, path) for path in outputs],
        )
