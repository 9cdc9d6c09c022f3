"""What the stages used reaches an OpenTelemetry collector through Airflow's own metrics."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from components._frame.usage import FOLDER
from tests.builders.nights import environment

PASS_ON = """
import sys
from pathlib import Path
from opentelemetry import metrics
from dags._usage import tell_usage
tell_usage(Path(sys.argv[1]))
metrics.get_meter_provider().force_flush()
"""


class Collector(BaseHTTPRequestHandler):
    heard: ClassVar[list[ExportMetricsServiceRequest]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_collector_hears_every_number_with_its_stage(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    for stage, seconds in (("train", 41.5), ("split", 2.25)):
        text = json.dumps({"seconds": seconds, "memory_bytes": 1000})
        (tmp_path / FOLDER / f"{stage}.json").write_text(text)
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = {
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
        }
        argv = [sys.executable, "-c", PASS_ON, str(tmp_path)]
        done = subprocess.run(argv, env=environment(**settings), capture_output=True, text=True)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    found = {
        (metric.name, attribute.value.string_value): point.as_double or point.as_int
        for request in Collector.heard
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.gauge.data_points
        for attribute in point.attributes
        if attribute.key == "stage"
    }
    assert found["airflow.longtail.stage.seconds", "train"] == 41.5
    assert found["airflow.longtail.stage.seconds", "split"] == 2.25
    assert found["airflow.longtail.stage.memory_bytes", "train"] == 1000
