from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from ddsched_nb.aio.statistics import ColumnProgress, RunStatistics
from ddsched_nb.core.model import PoolKey
from ddsched_nb.views import html

Make = Callable[..., RunStatistics]

AREAS = [
    html.state_html,
    html.figures_html,
    html.progress_html,
    html.columns_html,
    html.models_html,
    html.groups_html,
    html.error_html,
]
EVIL = "<img src=x onerror=alert(1)>\"'&"


class _Page(HTMLParser):
    """Reads HTML as a browser would: tags, texts and bars; fails on tags left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.bars: dict[str, int] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        found = dict(attrs)
        if found.get("role") == "progressbar":
            self.bars[str(found["aria-label"])] = int(str(found["aria-valuenow"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.mark.parametrize("state", ["running", "paused", "cancelling", "finished", "failed"])
@pytest.mark.parametrize("area", AREAS)
def test_every_area_is_well_formed_in_every_state(stats: Make, area: Any, state: str) -> None:
    _Page(area(stats(state=state, last_error="oops", deferred=3)))
    _Page(area(stats(state=state, columns=(), pools=(), open_groups=(), row_groups=0, rows=0)))


def test_a_state_is_told_by_a_sign_and_a_word(stats: Make) -> None:
    page = _Page(html.state_html(stats(state="paused")))
    assert "Paused" in page.texts
    signs = {_Page(html.state_html(stats(state=s))).texts[0] for s in ("running", "failed")}
    assert len(signs) == 2


def test_figures_say_rows_drops_time_and_speed(stats: Make) -> None:
    page = _Page(html.figures_html(stats(deferred=7)))
    assert page.texts == [
        *("100", " of 400 rows", "2", " dropped", "0:08", "12 rows/s", "7 deferred")
    ]


def test_columns_have_a_labelled_bar_each(stats: Make) -> None:
    page = _Page(html.columns_html(stats()))
    assert page.bars == {"topic: 100%": 100, "question: 50%": 50, "grade: 25%": 25}
    assert "writer" in page.texts


def test_open_row_groups_are_shown_and_long_lists_are_cut(stats: Make) -> None:
    page = _Page(html.groups_html(stats()))
    assert page.bars == {"row group 2: 50%": 50, "row group 3: 0%": 0}
    assert "Row groups: 2 of 8 finished, 2 open" in page.text
    many = stats(open_groups=stats().open_groups * 10)
    assert "and 12 more" in _Page(html.groups_html(many)).text


def test_models_say_slots_limit_cap_waiters_cooldown_and_refusals(stats: Make) -> None:
    page = _Page(html.models_html(stats()))
    cells = page.texts[page.texts.index("local/judge-large") :]
    assert cells[:7] == ["local/judge-large", "4", "5", "8", "3", "31", "1.5 s"]
    assert cells[7:] == ["local/writer-small", "9", "12", "32", "3", "4", "\u2013"]
    assert page.bars["local/judge-large: 4 of 8 slots in use, limit 5"] == 50


def test_no_cooldown_counts_down_after_the_end(stats: Make) -> None:
    assert "1.5 s" not in html.models_html(stats(state="cancelled"))


def test_an_error_is_marked_by_words_and_only_alarms_when_the_run_failed(stats: Make) -> None:
    assert html.error_html(stats()) == ""
    passing = html.error_html(stats(last_error="row 3: refused"))
    assert "Last error:" in passing
    assert 'role="alert"' not in passing
    failed = html.error_html(stats(state="failed", last_error="row 3: KeyError"))
    assert "Run failed:" in failed
    assert 'role="alert"' in failed
    assert "Run stalled:" in html.error_html(stats(state="stalled", last_error="refused"))


def test_whatever_a_user_named_is_escaped(stats: Make, pool_stats: Any) -> None:
    evil = stats(
        last_error=EVIL,
        columns=(ColumnProgress(EVIL, EVIL, 1, 2, 0),),
        pools=(pool_stats(PoolKey(EVIL, EVIL)),),
    )
    drawn = "".join(area(evil) for area in AREAS) + html.trouble_html(ValueError(EVIL))
    page = _Page(drawn)
    assert "img" not in page.tags
    assert page.text.count(EVIL) >= 4


def test_bars_stay_inside_their_track(stats: Make, pool_stats: Any) -> None:
    over = stats(pools=(pool_stats(PoolKey("p", "m"), cap=4, limit=2, in_flight=9),))
    assert "width:100.0%" in html.models_html(over)
    assert "width:225" not in html.models_html(over)
