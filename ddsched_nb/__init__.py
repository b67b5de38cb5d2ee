"""A notebook lab for scheduling many model calls over a table whose columns depend on each other.

Decides which names are public and where each lives. A name is imported when it is first used, so
`import ddsched_nb` costs nothing that is not needed: no HTTP, no templates, no charts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddsched_nb import errors
    from ddsched_nb.aio.context import CallContext
    from ddsched_nb.aio.correlation import Correlation, current_correlation
    from ddsched_nb.aio.limiter import RequestLimiter
    from ddsched_nb.aio.sinks import JsonLinesSink
    from ddsched_nb.analysis.causes import IdleCause
    from ddsched_nb.analysis.compare import Comparison, compare
    from ddsched_nb.analysis.fit import Fit, fit
    from ddsched_nb.analysis.idle import IdleReport, explain_idle
    from ddsched_nb.analysis.metrics import Metrics, metrics
    from ddsched_nb.analysis.timelines import TaskTimeline, Timelines, task_timelines
    from ddsched_nb.capacity_plan import CapacityPlan, CapacityValue
    from ddsched_nb.clients.capacity import OtherTenants, Outage, Ramp, RandomWalk, Sine
    from ddsched_nb.clients.embedded import EmbeddedEndpoint
    from ddsched_nb.clients.latency import Latency
    from ddsched_nb.clients.local import LocalModel
    from ddsched_nb.clients.profile import EndpointProfile, Fault
    from ddsched_nb.columns import Column, Skip
    from ddsched_nb.config import BorrowConfig, RequestAdmissionConfig, RetryConfig, RunConfig
    from ddsched_nb.core.metadata import SchedulingMetadata
    from ddsched_nb.core.row import Batch, Row
    from ddsched_nb.core.story import TaskStory
    from ddsched_nb.errors import RowDropped
    from ddsched_nb.model_columns import EmbeddingColumn, ImageColumn, ModelColumn
    from ddsched_nb.pipeline import Pipeline
    from ddsched_nb.providers import Model, OpenAICompatible, Prices, SimulatedProvider
    from ddsched_nb.record import RunRecord
    from ddsched_nb.run import Run, start
    from ddsched_nb.sim.contracts import check_limit, check_task_policy
    from ddsched_nb.sim.forecast import Forecast, forecast
    from ddsched_nb.sim.fuzz import FuzzFailure, FuzzReport, fuzz
    from ddsched_nb.sim.record import SimulatedRecord
    from ddsched_nb.sim.replay import replay
    from ddsched_nb.sim.simulate import Simulation, simulate, start_simulation
    from ddsched_nb.sim.trial import LimitTrial, try_limit
    from ddsched_nb.store.reading import Store
    from ddsched_nb.views import charts, explorers
    from ddsched_nb.views.watching import watch
    from ddsched_nb.workloads import find_workload
    from ddsched_nb.workloads.base import Hold, Workload

    __version__: str

__all__ = [
    "Batch",
    "BorrowConfig",
    "CallContext",
    "CapacityPlan",
    "CapacityValue",
    "Column",
    "Comparison",
    "Correlation",
    "EmbeddedEndpoint",
    "EmbeddingColumn",
    "EndpointProfile",
    "Fault",
    "Fit",
    "Forecast",
    "FuzzFailure",
    "FuzzReport",
    "Hold",
    "IdleCause",
    "IdleReport",
    "ImageColumn",
    "JsonLinesSink",
    "Latency",
    "LimitTrial",
    "LocalModel",
    "Metrics",
    "Model",
    "ModelColumn",
    "OpenAICompatible",
    "OtherTenants",
    "Outage",
    "Pipeline",
    "Prices",
    "Ramp",
    "RandomWalk",
    "RequestAdmissionConfig",
    "RequestLimiter",
    "RetryConfig",
    "Row",
    "RowDropped",
    "Run",
    "RunConfig",
    "RunRecord",
    "SchedulingMetadata",
    "SimulatedProvider",
    "SimulatedRecord",
    "Simulation",
    "Sine",
    "Skip",
    "Store",
    "TaskStory",
    "TaskTimeline",
    "Timelines",
    "Workload",
    "charts",
    "check_limit",
    "check_task_policy",
    "compare",
    "current_correlation",
    "errors",
    "explain_idle",
    "explorers",
    "find_workload",
    "fit",
    "forecast",
    "fuzz",
    "metrics",
    "replay",
    "simulate",
    "start",
    "start_simulation",
    "task_timelines",
    "try_limit",
    "watch",
]

_HOME = {
    "Batch": "core.row",
    "BorrowConfig": "config",
    "CallContext": "aio.context",
    "CapacityPlan": "capacity_plan",
    "CapacityValue": "capacity_plan",
    "Column": "columns",
    "Comparison": "analysis.compare",
    "Correlation": "aio.correlation",
    "EmbeddedEndpoint": "clients.embedded",
    "EmbeddingColumn": "model_columns",
    "EndpointProfile": "clients.profile",
    "Fault": "clients.profile",
    "Fit": "analysis.fit",
    "Forecast": "sim.forecast",
    "FuzzFailure": "sim.fuzz",
    "FuzzReport": "sim.fuzz",
    "Hold": "workloads.base",
    "IdleCause": "analysis.causes",
    "IdleReport": "analysis.idle",
    "ImageColumn": "model_columns",
    "JsonLinesSink": "aio.sinks",
    "Latency": "clients.latency",
    "LimitTrial": "sim.trial",
    "LocalModel": "clients.local",
    "Metrics": "analysis.metrics",
    "Model": "providers",
    "ModelColumn": "model_columns",
    "OpenAICompatible": "providers",
    "OtherTenants": "clients.capacity",
    "Outage": "clients.capacity",
    "Pipeline": "pipeline",
    "Prices": "providers",
    "Ramp": "clients.capacity",
    "RandomWalk": "clients.capacity",
    "RequestAdmissionConfig": "config",
    "RequestLimiter": "aio.limiter",
    "RetryConfig": "config",
    "Row": "core.row",
    "RowDropped": "errors",
    "Run": "run",
    "RunConfig": "config",
    "RunRecord": "record",
    "SchedulingMetadata": "core.metadata",
    "SimulatedProvider": "providers",
    "SimulatedRecord": "sim.record",
    "Simulation": "sim.simulate",
    "Sine": "clients.capacity",
    "Skip": "columns",
    "Store": "store.reading",
    "TaskStory": "core.story",
    "TaskTimeline": "analysis.timelines",
    "Timelines": "analysis.timelines",
    "Workload": "workloads.base",
    "check_limit": "sim.contracts",
    "check_task_policy": "sim.contracts",
    "compare": "analysis.compare",
    "current_correlation": "aio.correlation",
    "explain_idle": "analysis.idle",
    "find_workload": "workloads",
    "fit": "analysis.fit",
    "forecast": "sim.forecast",
    "fuzz": "sim.fuzz",
    "metrics": "analysis.metrics",
    "replay": "sim.replay",
    "simulate": "sim.simulate",
    "start": "run",
    "start_simulation": "sim.simulate",
    "task_timelines": "analysis.timelines",
    "try_limit": "sim.trial",
    "watch": "views.watching",
}
_MODULES = {"charts": "views.charts", "errors": "errors", "explorers": "views.explorers"}
# Not public any more: their old home says what replaced them.
_REMOVED = {"ThrottleConfig": "config"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _MODULES:
        value = import_module(f"{__name__}.{_MODULES[name]}")
    elif home := _HOME.get(name) or _REMOVED.get(name):
        value = getattr(import_module(f"{__name__}.{home}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib.metadata import version

    return version("ddsched-nb")
