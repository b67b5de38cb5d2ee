"""Two models that lose three quarters of their slots for ten seconds."""

from __future__ import annotations

from ddsched_nb.workloads.base import Expectation, Workload
from ddsched_nb.workloads.peers_work import pipeline

WORKLOAD = Workload(
    name="drop",
    about="two models that lose three quarters of their slots for ten seconds",
    pipeline=pipeline(capacity=32, cap=32, steps=((4.0, 8), (14.0, 32))),
    rows=512,
    expect=Expectation(refusals=True),
)
