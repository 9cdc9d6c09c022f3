"""What Prometheus is told of the server."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from components._cli.server.batches import AT_ONCE, Batches
from components._cli.server.champion import Champion

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60.0)


class Metrics:
    """Counters of one server; the names begin with `longtail_`."""

    def __init__(self, champion: Champion, batches: Batches) -> None:
        self._champion, self._registry = champion, CollectorRegistry()
        own = self._registry
        self.requests = Counter(
            "longtail_requests", "requests to /invocations", ["status"], registry=own
        )
        self.seconds = Histogram(
            "longtail_request_seconds",
            "from the head of a request to its answer",
            buckets=SECONDS,
            registry=own,
        )
        self.texts = Counter("longtail_texts", "texts answered", registry=own)
        self.batch = Histogram(
            "longtail_batch_texts",
            "texts that the model got at once",
            buckets=[2**power for power in range(AT_ONCE.bit_length())],
            registry=own,
        )
        waiting = Gauge("longtail_waiting_texts", "texts that no core has taken yet", registry=own)
        waiting.set_function(lambda: batches.n_waiting)
        exchanges = Gauge(
            "longtail_exchanges", "changes of the champion since the start", registry=own
        )
        exchanges.set_function(lambda: champion.n_exchanges)
        self._model = Gauge("longtail_model_info", "the version that answers", ["uri"],
                            registry=own)  # fmt: skip

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        self._model.clear()
        self._model.labels(self._champion.uri).set(int(self._champion.alive))
        return generate_latest(self._registry)
