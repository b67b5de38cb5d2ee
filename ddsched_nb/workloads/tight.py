"""Two models with a quarter of the slots this client may ask for."""

from __future__ import annotations

from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.peers_work import pipeline

WORKLOAD = Workload(
    name="tight",
    about="two models with a quarter of the slots this client may ask for",
    pipeline=pipeline(capacity=16, cap=64),
    rows=512,
    expect=Expectation(refusals=True),
)
