"""The live lanes over real HTTP: what they send, what they leave, and what their exit says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

import ddsched_nb as dd
from ddsched_nb import cli, cli_lanes
from ddsched_nb.bench.lanes.catalog import LANES, SCALE, Setup, chosen
from ddsched_nb.bench.lanes.report import lanes_report
from ddsched_nb.bench.lanes.result import LaneResult, LanesSummary
from ddsched_nb.bench.suite.summary import Provenance
from ddsched_nb.core import events as ev

FAST = dd.EndpointProfile(model="fast", capacity=8, latency=0.01, retry_after_s=0.05)
SMALL = ["--requests", "12", "--parallel", "8"]
USUAL = ["max-parallel", "aimd", "short-long", "fan-out", "fan-in", "bottleneck"]


def summary_in(folder: Path) -> LanesSummary:
    return msgspec.json.decode((folder / "summary.json").read_bytes(), type=LanesSummary)


def test_all_lanes_run_on_the_embedded_endpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lanes", *SMALL, "--out", str(tmp_path / "new")]) == 0
    said = summary_in(tmp_path / "new")
    assert [lane.lane for lane in said.lanes] == [*USUAL, "strong-small"]
    assert (said.endpoint, said.models, said.lost) == ("embedded", ("strong", "small"), 0)
    printed = capsys.readouterr().out.splitlines()
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    for lane, line in zip(said.lanes, printed, strict=False):
        assert line.startswith(f"{lane.lane}: {lane.wall_s:.2f} s, ")
        assert (lane.state, lane.finished, lane.why) == ("finished", lane.rows, None)
        assert lane.requests - lane.refused >= 12
        assert lane.over_bound is not None
        assert lane.over_bound >= 1
        assert 0 < lane.p50_s <= lane.p95_s
        assert f"<code>{lane.record}</code>" in page
        record = dd.RunRecord.load(tmp_path / "new" / str(lane.record))
        assert len(record.select(ev.ModelRequestStarted)) == lane.requests
        assert len(record.select(ev.RequestRateLimited)) == lane.refused
    assert printed[-1] == f"written to {tmp_path / 'new'}"


@pytest.fixture
def own() -> dd.EmbeddedEndpoint:
    with dd.EmbeddedEndpoint([FAST]) as endpoint:
        yield endpoint


def test_what_each_lane_sends(own: dd.EmbeddedEndpoint, tmp_path: Path) -> None:
    where = ["--base-url", own.base_url, "--out", str(tmp_path)]
    assert cli.main(["lanes", *where, "--requests", "60", "--parallel", "8"]) == 0
    said = {lane.lane: lane for lane in summary_in(tmp_path).lanes}
    assert summary_in(tmp_path).models == ("fast",), "the only one that is listed"
    assert list(said) == USUAL
    assert {lane.bound_s for lane in said.values()} == {None}, "nobody told the capacity"
    assert said["max-parallel"].limits == {"lane/fast/chat": (8, 8)}
    assert said["max-parallel"].refused == 0
    assert said["aimd"].limits["lane/fast/chat"][1] > 8
    assert said["aimd"].refused > 0
    assert said["bottleneck"].limits["middle/fast/chat"] == (1, 1)
    assert len(said["bottleneck"].limits) == 3
    stats = own.stats().models["fast"]
    assert (stats.requests, stats.refused) == (
        sum(lane.requests for lane in said.values()),
        sum(lane.refused for lane in said.values()),
    )


def test_the_bound_of_a_capacity_that_is_told(
    own: dd.EmbeddedEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--base-url", own.base_url, "--model", "fast", "--capacity", "8"]
    assert cli.main(["lanes", *where, *SMALL, "--only", "fan-in"]) == 0
    assert re.fullmatch(
        r"fan-in: .* s, \d+\.\d\d x the bound; 12 requests, .*\n", capsys.readouterr().out
    )


def test_lost_rows_are_told_and_end_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = dd.Fault(kind="error", share=1.0, attempts=None, status=400)
    broken = FAST.model_copy(update={"faults": (fault,)})
    with dd.EmbeddedEndpoint([broken]) as endpoint:
        where = ["--base-url", endpoint.base_url, "--model", "fast", "--out", str(tmp_path)]
        assert cli.main(["lanes", *where, *SMALL, "--only", "fan-out"]) == 1
    (lane,) = summary_in(tmp_path).lanes
    assert (lane.rows, lane.lost) == (3, 3)
    printed = capsys.readouterr().out
    assert "3 rows lost" in printed
    assert lane.why
    assert lane.why in printed
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Rows lost: 0 of 3 rows of 1 lanes were finished." in page


def test_a_key_is_nowhere(
    own: dd.EmbeddedEndpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LANES_KEY", "canary-key")
    where = [
        *("--base-url", own.base_url.replace("//", "//user:canary-user@") + "?canary-query=1"),
        *("--api-key", "env:LANES_KEY", "--model", "fast", "--out", str(tmp_path)),
    ]
    # Whether such an address is taken or refused: nothing of it is shown.
    cli.main(["lanes", *where, *SMALL, "--only", "fan-in"])
    where[1] = own.base_url
    assert cli.main(["lanes", *where, *SMALL, "--only", "fan-in"]) == 0
    captured = capsys.readouterr()
    files = [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()]
    assert len(files) == 3
    assert not any("canary" in text for text in (captured.out, captured.err, *files))


def test_an_address_is_shown_without_what_may_hold_a_key() -> None:
    shown = cli_lanes._shown("https://user:secret@example.org:8443/v1?key=secret#secret")
    assert shown == "https://example.org:8443/v1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--api-key", "sk-secret", "--base-url", "http://127.0.0.1:9/v1"], "takes env:NAME"),
        (["--model", "x"], "--model goes with --base-url"),
        (["--small-model", "x"], "--small-model goes with --base-url"),
        (["--capacity", "3"], "--capacity goes with --base-url"),
        (["--only", "fan"], "there is no lane 'fan'; there are max-parallel, "),
        (["--only", "fan-scale"], "lane 'fan-scale' needs --requests 1024 or more"),
        (["--base-url", "http://127.0.0.1:9/v1"], "is the endpoint running?"),
        (
            ["--base-url", "http://127.0.0.1:9/v1", "--model", "x", "--only", "strong-small"],
            "needs --small-model",
        ),
        (["--out", "/proc/nowhere"], "cannot write to '/proc/nowhere'"),
    ],
)
def test_what_the_user_can_mend(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lanes", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "sk-secret" not in captured.err


def test_several_models_are_listed_where_none_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with dd.EmbeddedEndpoint() as endpoint:
        assert cli.main(["lanes", "--base-url", endpoint.base_url]) == 2
        listed = ", ".join(profile.model for profile in endpoint.profiles)
    assert (
        capsys.readouterr().err.rstrip().endswith(f"give --model; the endpoint lists 4: {listed}")
    )


def test_lanes_of_scale_come_with_many_requests() -> None:
    few, many = Setup("", None, "m", requests=SCALE - 1), Setup("", None, "m", requests=SCALE)
    assert [lane.name for lane in chosen(few)] == USUAL
    assert [lane.name for lane in chosen(many)] == [*USUAL, "cap-scale", "aimd-scale", "fan-scale"]
    named = {lane.name: lane for lane in LANES}
    assert named["cap-scale"].rows(many, 1) == SCALE
    assert named["fan-scale"].rows(many, 4) == SCALE // 4
    assert named["aimd"].rows(many, 1) == SCALE // 4
    assert len(chosen(many._replace(small_model="s"))) == len(LANES)


def test_a_lane_makes_as_many_calls_a_row_as_it_says(own: dd.EmbeddedEndpoint) -> None:
    setup = Setup(own.base_url, None, "fast", "fast", requests=SCALE, parallel=2)
    for lane in LANES:
        own.reset()
        work = lane.build(setup)
        dd.start(work.pipeline, rows=2, config=work.config).wait(30)
        assert own.stats().models["fast"].ok == 2 * work.calls_a_row, lane.name


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_report_escapes_what_it_is_told_and_loads_nothing() -> None:
    hostile = "<img src=//example.org/x>&"
    lane = LaneResult(
        lane=hostile,
        about=hostile,
        state=hostile,
        why=hostile,
        rows=2,
        finished=1,
        dropped=1,
        requests=3,
        refused=0,
        failed=1,
        tokens=9,
        wall_s=2.0,
        bound_s=1.6,
        binding=hostile,
        p50_s=0.5,
        p95_s=0.6,
        limits={hostile: (3, 2)},
        record=hostile,
    )
    where = Provenance(
        commit="c",
        dirty=None,
        command=hostile,
        seed=0,
        machine=hostile,
        processors=2,
        versions={"python": "3"},
    )
    told = LanesSummary(endpoint=hostile, models=(hostile,), lanes=(lane,), provenance=where)
    page = lanes_report(told)
    tags = Tags(page)
    assert not {"img", "script", "link", "iframe"} & set(tags.found)
    assert tags.addresses == []
    assert page.count("&lt;img src=//example.org/x&gt;&amp;") >= 10
    assert "Rows lost: 1 of 2 rows of 1 lanes were finished." in page
    assert "1.25 x the bound" in page
