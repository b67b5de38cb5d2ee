"""Events as OpenTelemetry metrics, read back through the real SDK."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import ddsched_nb as dd
from ddsched_nb.core import events as ev
from ddsched_nb.errors import ConfigError
from ddsched_nb.integrations.opentelemetry import OpenTelemetryMetrics


def measured(record: dd.RunRecord, **attributes: str) -> dict[str, list[Any]]:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    bridge = OpenTelemetryMetrics(provider.get_meter("test"), attributes)
    for event in record.events:
        bridge(event)
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    found = data.resource_metrics[0].scope_metrics[0].metrics
    return {metric.name: list(metric.data.data_points) for metric in found}


def test_the_figures_are_those_of_the_record() -> None:
    record = dd.simulate("tight", rows=60)
    found = measured(record, job="nightly")
    ended = Counter(event.outcome for event in record.select(ev.TaskCompleted))
    assert {p.attributes["outcome"]: p.value for p in found["ddsched_nb.tasks"]} == ended
    answers = Counter(str(event.outcome) for event in record.select(ev.ModelRequestCompleted))
    assert {p.attributes["outcome"]: p.value for p in found["ddsched_nb.requests"]} == answers
    assert answers["rate_limited"] > 0
    rows = {p.attributes["outcome"]: p.value for p in found["ddsched_nb.rows"]}
    assert rows == {"finished": 60, "dropped": 0}
    assert sum(p.value for p in found["ddsched_nb.requests.in_flight"]) == 0
    waits = found["ddsched_nb.request.wait"][0]
    assert waits.count == len(record.select(ev.RequestLeaseAcquired))
    tokens = sum(p.value for p in found["ddsched_nb.tokens"])
    assert tokens == sum(event.tokens for event in record.select(ev.ModelRequestCompleted))
    for points in found.values():
        for point in points:
            assert point.attributes["job"] == "nightly"
            assert set(point.attributes) <= {
                *("job", "outcome", "domain", "reason", "type", "direction"),
            }


@pytest.mark.parametrize("name", ["task_id", "model", "gen_ai.request.model", "ddsched.run_id"])
def test_ids_are_refused_as_attributes(name: str) -> None:
    with pytest.raises(ConfigError, match="a time series for each of its values"):
        OpenTelemetryMetrics(attributes={name: "x"})


def test_without_an_sdk_it_does_nothing() -> None:
    bridge = OpenTelemetryMetrics()
    for event in dd.simulate("tight", rows=8).events:
        bridge(event)
    assert len(bridge._waits) == 0
