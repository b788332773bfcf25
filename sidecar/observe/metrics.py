# SPDX-License-Identifier: Apache-2.0
"""Every metric there is, declared in one place. Labels are bounded: no agent-chosen text.

Counters that the hot path moves are plain integers, read by a collector when somebody scrapes: a
Prometheus counter costs a lock per call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["DECISION_BUCKETS_S", "Metrics", "Sample"]

DECISION_BUCKETS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
)  # fmt: skip

Sample = tuple[str, str, str, Iterable[tuple[tuple[str, ...], float]], tuple[str, ...]]
"""(kind ``counter``/``gauge``, name, help, (label values, value) pairs, label names)."""


class _Pulled(Collector):
    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for kind, name, text, rows, labels in self._read():
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            metric = family(name, text, labels=labels)
            for values, value in rows:
                metric.add_metric(values, value)
            yield metric


class Metrics:
    """The registry of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decision_seconds = Histogram(
            "holdfast_decision_seconds",
            "Time from a unary Authorize to its answer, in seconds.",
            buckets=DECISION_BUCKETS_S,
            registry=self.registry,
        )

    def pull(self, read: Callable[[], Iterable[Sample]]) -> None:
        """Ask *read* for its samples at every scrape."""
        self.registry.register(_Pulled(read))
