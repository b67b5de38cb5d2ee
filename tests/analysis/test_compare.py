"""Records side by side: medians with their range, bounds, and what is noise."""

from __future__ import annotations

import pytest

import ddsched_nb as dd
from ddsched_nb.analysis.compare import Figure
from ddsched_nb.errors import ConfigError, RecordError

AIMD = dd.RunConfig(request_admission=dd.RequestAdmissionConfig(limit="aimd"))


def test_two_limits_over_three_seeds() -> None:
    runs = {
        "ceiling": [dd.simulate("tight", rows=120, seed=seed) for seed in range(3)],
        "aimd": [dd.simulate("tight", AIMD, rows=120, seed=seed) for seed in range(3)],
        "one": dd.simulate("tight", rows=120),
    }
    found = dd.compare(runs)
    ceiling, aimd, one = found.lines
    assert (ceiling.runs, one.runs) == (3, 1)
    assert ceiling.wall_s.low <= ceiling.wall_s.median <= ceiling.wall_s.high
    assert ceiling.wall_s.low <= one.wall_s.median == one.wall_s.low <= ceiling.wall_s.high
    assert not aimd.wall_s.overlaps(ceiling.wall_s)
    assert ceiling.bound_s is not None
    assert ceiling.wall_s.median >= ceiling.bound_s
    assert ceiling.finished == Figure(120, 120, 120)
    text = str(found)
    assert "aimd (median of 3)" in text
    assert "within noise" in text.splitlines()[-1]
    assert "within noise" not in text.splitlines()[-2]
    html = found._repr_mimebundle_()["text/html"]
    assert html.startswith("<table>")
    assert html.rstrip().endswith("</svg>")


def test_a_record_of_a_real_run_has_no_bound() -> None:
    record = dd.RunRecord(dd.simulate("tight", rows=20).events)
    (line,) = dd.compare({"real": record}).lines
    assert (line.bound_s, line.oracle_s) == (None, None)
    assert "-" in str(dd.compare({"real": record}))
    assert dd.charts.comparison(dd.compare({"real": record})).to_dict()["layer"]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one record"):
        dd.compare({})
    with pytest.raises(ConfigError, match="at least one record"):
        dd.compare({"none": []})
    with pytest.raises(RecordError, match="'half' does not hold a whole run"):
        dd.compare({"half": dd.RunRecord(dd.simulate("tight", rows=8).events[5:])})
