"""Every public object says in one line what it is, and those that are looked at have a table."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.lib.pretty import pretty

import ddsched_nb as dd
from ddsched_nb.aio.correlation import Correlation
from ddsched_nb.aio.statistics import ColumnProgress, RunStatistics
from ddsched_nb.analysis.causes import IdleCause
from ddsched_nb.core.blocked import Blocked, Cause
from ddsched_nb.core.model import (
    LLM_WAIT,
    SUBMISSION,
    Admit,
    Flow,
    FlowKey,
    Lease,
    ModelKey,
    OutcomeKind,
    Permit,
    PoolKey,
    RowGroup,
    Sample,
    Task,
)
from ddsched_nb.core.pool_facts import PoolStatistics, Turn
from ddsched_nb.core.row import Batch, Row
from ddsched_nb.core.task_admission import TaskStatistics
from ddsched_nb.sim.chaos import InjectedFault

HOSTILE = "<img src=x onerror=1>"
SECRET = "sk-CANARY0123456789"
LONGEST = 200

FLOW = FlowKey("model", ("local", HOSTILE, "chat"))
POOL = PoolKey("local", HOSTILE)


def pool_statistics() -> PoolStatistics:
    return PoolStatistics(POOL, "aimd", 12, 32, 9, 3, 0.0, 100, 87, 4, 0, 1.0, 10)


def run_statistics() -> RunStatistics:
    columns = (ColumnProgress(HOSTILE, HOSTILE, 1, 2, 0),)
    pools = (pool_statistics(),)
    return RunStatistics("running", 4, 1, 0, 1, 0, (), columns, pools, 0, 8.0, 10.0, HOSTILE)


def profile() -> dd.EndpointProfile:
    return dd.EndpointProfile(model=HOSTILE, capacity=4, latency=0.1)


def provider() -> dd.SimulatedProvider:
    return dd.SimulatedProvider("local", [profile()])


def pipeline() -> dd.Pipeline:
    return dd.Pipeline(
        models=[dd.Model(HOSTILE, provider="local")],
        providers=[provider()],
        columns=[
            dd.Column(HOSTILE, generate=list, models=[HOSTILE]),
            dd.ModelColumn("answer", model=HOSTILE, prompt=lambda row: "x", needs=[HOSTILE]),
        ],
    )


def workload() -> dd.Workload:
    return dd.Workload(HOSTILE, HOSTILE, pipeline(), rows=2)


def graph() -> Any:
    return pipeline().graph()


def model_work() -> dd.Pipeline:
    return dd.Pipeline(
        models=[dd.Model("m", provider="local", id=HOSTILE)],
        providers=[provider()],
        columns=[
            dd.Column(HOSTILE, generate=list),
            dd.ModelColumn("answer", model="m", prompt=lambda row: "x", needs=[HOSTILE]),
        ],
    )


@cache
def simulated(build: int) -> dd.SimulatedRecord:
    return dd.simulate(dd.Workload(HOSTILE, "", model_work(), rows=4))


@cache
def finished_run(build: int) -> tuple[dd.Run, Path]:
    """A run with a store. What it leaves is in a folder that is called the same each time."""
    folder = Path(tempfile.mkdtemp()) / HOSTILE
    columns = [dd.Column(HOSTILE, generate=list)]
    return dd.start(dd.Pipeline(columns=columns), rows=3, store=folder).wait(), folder


@cache
def modelled_run(build: int) -> dd.Run:
    # Without a record, since what was used at the most depends on the moment.
    return dd.start(model_work(), rows=2, config=dd.RunConfig(record=False)).wait()


def simulation(build: int) -> dd.Simulation:
    found = dd.start_simulation(workload())
    found.wait()
    return found


def limiter(build: int) -> dd.RequestLimiter:
    made = dd.RequestLimiter()
    made.pool(model=HOSTILE)
    return made


def sink(build: int) -> dd.JsonLinesSink:
    with dd.JsonLinesSink(Path(tempfile.gettempdir()) / "reprs-of-all.jsonl") as made:
        return made


def context(build: int) -> Any:
    """The context of a task, as its function is given it."""
    seen: list[str] = []

    def look(row: dd.Row, call: dd.CallContext) -> int:
        seen.append(repr(call))
        return 1

    columns = [dd.Column("a", generate=list), dd.Column("b", needs=["a"], generate=look)]
    dd.simulate(dd.Workload("w", "", dd.Pipeline(columns=columns), rows=1))
    return _Said(seen[0])


class _Said:
    """What something said of itself that is gone by now."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def forecast(build: int) -> dd.Forecast:
    return dd.forecast(model_work(), rows=3, profiles=[profile()], runs=3)


def broken() -> dd.FuzzFailure:
    faults = tuple(InjectedFault("cancel", at) for at in range(90))
    return dd.FuzzFailure(HOSTILE, 4, 3, faults, (f"{HOSTILE}\nis broken",))


def story(build: int) -> dd.TaskStory:
    record = simulated(build)
    return record.explain(dd.task_timelines(record)[0].task_id)


def provider_with_a_key(build: int) -> dd.OpenAICompatible:
    address = f"https://user:{SECRET}@host/v1?key={SECRET}"
    return dd.OpenAICompatible("local", base_url=address, api_key=SECRET)


SHAPES: dict[str, Callable[[int], Any]] = {
    "Latency": lambda _: dd.Latency(mean_s=0.3, sigma=0.5),
    "OtherTenants": lambda _: dd.OtherTenants(share=0.2),
    "Outage": lambda _: dd.Outage(start_s=5.0, end_s=8.0),
    "Ramp": lambda _: dd.Ramp(seconds=4.0),
    "RandomWalk": lambda _: dd.RandomWalk(every_s=1.0, low=0.5),
    "Sine": lambda _: dd.Sine(period_s=10.0),
}
# One of each public class, made twice; the number tells the builds apart.
MADE: dict[str, Callable[[int], Any]] = {
    "Batch": lambda _: Batch({HOSTILE: [1, 2]}, numbers=[0, 1], column="c"),
    "BorrowConfig": lambda _: dd.BorrowConfig(ceiling=2, ceilings={HOSTILE: {"submission": 1}}),
    "CallContext": context,
    "CapacityPlan": lambda b: modelled_run(b).capacity_plan(),
    "CapacityValue": lambda b: modelled_run(b).capacity_plan().values[0],
    "Column": lambda _: dd.Column(HOSTILE, generate=list),
    "Comparison": lambda b: dd.compare({HOSTILE: simulated(b)}),
    "Correlation": lambda _: Correlation("a/0/1", "local/column/a", "a", 0, 1),
    "EmbeddedEndpoint": lambda _: dd.EmbeddedEndpoint([profile()]),
    "EmbeddingColumn": lambda _: dd.EmbeddingColumn("v", model="m", text="{{ a }}"),
    "EndpointProfile": lambda _: profile(),
    "Fault": lambda _: dd.Fault(kind="error", share=0.5),
    "Fit": lambda b: dd.fit(simulated(b)),
    "Forecast": forecast,
    "FuzzFailure": lambda _: broken(),
    "FuzzReport": lambda _: dd.FuzzReport(HOSTILE, 3, 100, 4, broken()),
    "Hold": lambda _: dd.Hold("m", 3.0),
    "IdleCause": lambda _: next(iter(IdleCause)),
    "IdleReport": lambda b: dd.explain_idle(simulated(b)),
    "ImageColumn": lambda _: dd.ImageColumn("v", model="m", prompt="{{ a }}"),
    "JsonLinesSink": sink,
    "LimitTrial": lambda _: dd.try_limit("aimd", profile(), seconds=60.0),
    "LocalModel": lambda _: dd.LocalModel(),
    "Metrics": lambda b: dd.metrics(simulated(b)),
    "Model": lambda _: dd.Model(HOSTILE, provider="local", system=SECRET, params={"k": SECRET}),
    "ModelColumn": lambda _: dd.ModelColumn("answer", model="m", prompt="Ask {{ a }}"),
    "OpenAICompatible": provider_with_a_key,
    "Pipeline": lambda _: pipeline(),
    "Prices": lambda _: dd.Prices(prompt=0.1),
    "RequestAdmissionConfig": lambda _: dd.RequestAdmissionConfig(limit="aimd"),
    "RequestLimiter": limiter,
    "RetryConfig": lambda _: dd.RetryConfig(budget=3),
    "Row": lambda _: Row({HOSTILE: 1}, number=3, column="c"),
    "RowDropped": lambda _: dd.RowDropped("why\nnot"),
    "Run": lambda b: finished_run(b)[0],
    "RunConfig": lambda _: dd.RunConfig(buffer_size=2, record=Path(HOSTILE)),
    "RunRecord": lambda b: dd.RunRecord(simulated(b).events, keep=3),
    "SchedulingMetadata": lambda _: dd.SchedulingMetadata.model("local", HOSTILE),
    "SimulatedProvider": lambda _: provider(),
    "SimulatedRecord": simulated,
    "Simulation": simulation,
    "Skip": lambda _: dd.Skip("score < 3"),
    "Store": lambda b: dd.Store(finished_run(b)[1]),
    "TaskStory": story,
    "TaskTimeline": lambda b: dd.task_timelines(simulated(b))[0],
    "Timelines": lambda b: dd.task_timelines(simulated(b)),
    "Workload": lambda _: workload(),
    **SHAPES,
}
# What a public object hands out.
HANDED: dict[str, Callable[[int], Any]] = {
    "Admit": lambda _: Admit(((SUBMISSION, 1),)),
    "Blocked": lambda _: Blocked(Cause.PAUSED, queued=3),
    "ColumnGraph": lambda _: graph(),
    "Flow": lambda _: Flow(FLOW, 1.0, ((SUBMISSION, 1), (LLM_WAIT, 1))),
    "FlowKey": lambda _: FLOW,
    "Lease": lambda _: Lease(1, 1, FLOW, ((SUBMISSION, 1),), HOSTILE),
    "ModelKey": lambda _: ModelKey("local", "m"),
    "Permit": lambda _: Permit(1, 1, POOL, 2, 0.5, 8, 3),
    "PoolKey": lambda _: POOL,
    "PoolStatistics": lambda _: pool_statistics(),
    "RowGroup": lambda _: RowGroup(0, 0, 10),
    "RunPace": lambda b: dd.metrics(simulated(b)).run,
    "RunStatistics": lambda _: run_statistics(),
    "RunSummary": lambda b: simulated(b).result.summary,
    "Sample": lambda _: Sample(0.0, 1.0, 1.0, 3, 8, 3, OutcomeKind.SUCCESS),
    "Task": lambda _: Task("a", 0, 1),
    "TaskStatistics": lambda _: TaskStatistics(
        {SUBMISSION: 4}, {SUBMISSION: 1}, {FLOW: {SUBMISSION: 1}}, 1, {FLOW: {SUBMISSION: 1}}
    ),
    "Turn": lambda _: Turn([], [], [], 1.0),
}
ALL = MADE | HANDED

LOOKED_AT = {
    *("BorrowConfig", "CapacityPlan", "ColumnGraph", "Comparison", "EndpointProfile", "Fault"),
    *("Fit", "Forecast", "FuzzFailure", "FuzzReport", "IdleReport", "Lease", "LimitTrial"),
    *("Metrics", "Model", "Permit", "Pipeline", "PoolStatistics", "RequestAdmissionConfig"),
    *("RequestLimiter", "RetryConfig", "RunConfig", "RunPace", "RunRecord", "RunStatistics"),
    *("RunSummary", "SchedulingMetadata", "SimulatedRecord", "Store", "TaskStatistics"),
    *("TaskStory", "TaskTimeline", "Timelines", "Workload", "Blocked", *SHAPES),
}
# No name of a user is in them.
NAMELESS = {
    *("Fault", "RequestAdmissionConfig", "RetryConfig", "RunPace", "RunRecord"),
    *("Blocked", "Forecast", "LimitTrial", *SHAPES),
}
# The picture of a graph is no table.
NO_TABLE = {"ColumnGraph"}


class Read(HTMLParser):
    """Reads HTML strictly: every tag that opens closes, in order; an unknown one is an error."""

    ALLOWED = frozenset(
        {
            *("table", "caption", "thead", "tbody", "tr", "th", "td"),
            *("div", "svg", "g", "path", "rect", "text", "title"),
        }
    )

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.scopes: list[str | None] = []
        self.text = ""
        self.feed(html)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.wrong += [tag] * (tag not in self.ALLOWED)
        self.wrong += [name for name, _ in attrs if name.startswith("on")]
        if tag == "th":
            self.scopes.append(dict(attrs).get("scope"))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.wrong += [tag] * (tag not in self.ALLOWED)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_there_is_one_of_every_public_class() -> None:
    assert set(MADE) == {name for name in dd.__all__ if inspect.isclass(getattr(dd, name))}
    for name, make in MADE.items():
        assert isinstance(make(0), (getattr(dd, name), _Said)), name
    assert not LOOKED_AT - set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_repr_is_one_short_line_and_the_same_twice(name: str) -> None:
    text = repr(ALL[name](0))
    assert text == repr(ALL[name](1))
    assert text
    assert text.isprintable()
    assert len(text) <= LONGEST
    assert " at 0x" not in text
    assert SECRET not in text


@pytest.mark.parametrize("name", sorted(LOOKED_AT))
def test_what_is_looked_at_has_a_table_that_nothing_breaks_out_of(name: str) -> None:
    html = ALL[name](0)._repr_html_()
    assert html == ALL[name](1)._repr_html_()
    read = Read(html)
    assert not read.wrong
    assert set(read.scopes) <= {"row", "col"}
    if name not in NO_TABLE:
        assert "<caption>" in html
        assert read.scopes
    if name not in NAMELESS:
        assert HOSTILE in read.text
    assert " at 0x" not in html
    assert SECRET not in html


@pytest.mark.parametrize("name", sorted(set(ALL) - LOOKED_AT - {"Run"}))
def test_the_others_have_none(name: str) -> None:
    assert not hasattr(ALL[name](0), "_repr_html_")


def test_print_tells_settings_and_reports_as_they_are() -> None:
    assert str(dd.RunConfig(buffer_size=2)) == "RunConfig(buffer_size=2)"
    assert str(dd.RunConfig()) == "RunConfig()"
    report = dd.explain_idle(simulated(0))
    assert len(str(report).splitlines()) > 2
    assert repr(report).startswith("<IdleReport: submission ")


def test_a_long_repr_is_cut_and_says_so() -> None:
    columns = [dd.Column(f"column-{i}", generate=list) for i in range(40)]
    text = repr(dd.Pipeline(columns=columns))
    assert len(text) == LONGEST
    assert text.endswith("...")


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_cell_that_ends_in_it_tells_as_much_as_print(name: str) -> None:
    found = ALL[name](0)
    if not hasattr(found, "_repr_pretty_"):
        pytest.skip("its repr says it all")
    assert pretty(found) == str(found)
    assert pretty([found]) == f"[{found!r}]"
