"""Two models with twice the slots this client may use; nothing is ever refused."""

from __future__ import annotations

from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.peers_work import pipeline

WORKLOAD = Workload(
    name="generous",
    about="two models with twice the slots this client may use; nothing is ever refused",
    pipeline=pipeline(capacity=64, cap=32),
    rows=512,
    expect=Expectation(over_bound=1.15, refusals=False),
)
