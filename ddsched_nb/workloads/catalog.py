"""Every workload, in one tuple."""

from __future__ import annotations

from ddsched_nb.workloads import (
    adaptive_request_pressure,
    bottleneck,
    cross_provider_cooldown,
    diamond,
    drop,
    dropped_rows,
    dynamic_requests,
    fan_in,
    fan_out,
    generate_then_judge,
    generous,
    heavy_root,
    heavy_tail,
    late_peer,
    million_rows,
    outage_and_recovery,
    queue_admission_smoke,
    rate_limit_storm,
    real_pipeline_overlap,
    request_pressure,
    short_long_mix,
    tight,
    whole_groups,
)
from ddsched_nb.workloads.base import Workload

__all__ = ["WORKLOADS"]

WORKLOADS: tuple[Workload, ...] = (
    real_pipeline_overlap.WORKLOAD,
    request_pressure.WORKLOAD,
    adaptive_request_pressure.WORKLOAD,
    queue_admission_smoke.WORKLOAD,
    generous.WORKLOAD,
    tight.WORKLOAD,
    drop.WORKLOAD,
    fan_in.WORKLOAD,
    fan_out.WORKLOAD,
    diamond.WORKLOAD,
    generate_then_judge.WORKLOAD,
    short_long_mix.WORKLOAD,
    bottleneck.WORKLOAD,
    heavy_root.WORKLOAD,
    heavy_tail.WORKLOAD,
    dynamic_requests.WORKLOAD,
    cross_provider_cooldown.WORKLOAD,
    late_peer.WORKLOAD,
    rate_limit_storm.WORKLOAD,
    outage_and_recovery.WORKLOAD,
    dropped_rows.WORKLOAD,
    whole_groups.WORKLOAD,
    million_rows.WORKLOAD,
)
