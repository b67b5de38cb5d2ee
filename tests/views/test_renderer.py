from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from xml.etree import ElementTree

import altair as alt
import pytest

from ddsched_nb.views import renderer

ROWS = alt.Data(values=[{"t": t, "n": 2 + t % 3, "pool": p} for t in range(20) for p in "ab"])


@pytest.fixture(autouse=True)
def _default_renderer() -> Iterator[None]:
    before = alt.renderers.active
    alt.renderers.enable("default")
    yield
    alt.renderers.enable(before)


def line() -> dict[str, object]:
    return dict(alt.Chart(ROWS).mark_line().encode(x="t:Q", y="n:Q", color="pool:N").to_dict())


def stacked() -> dict[str, object]:
    """Areas over a line: Vega-Lite 6 stacks them, 5 does not."""
    base = alt.Chart(ROWS).encode(x="t:Q", y="n:Q", color="pool:N")
    return dict((base.mark_area(interpolate="step-after") + base.mark_line()).to_dict())


def test_a_chart_is_given_in_three_forms() -> None:
    bundle, metadata = renderer.render(line())
    assert list(bundle) == [renderer.VEGALITE_V5, renderer.SVG, "text/plain"]
    assert bundle[renderer.VEGALITE_V5]["$schema"].endswith("/v5.json")
    assert ElementTree.fromstring(bundle[renderer.SVG]).tag.endswith("svg")
    assert metadata[renderer.VEGALITE_V5]["embed_options"]["actions"]["editor"] is False


def test_the_same_chart_gives_the_same_forms() -> None:
    assert renderer.render(line()) == renderer.render(line())


def test_names_of_parameters_do_not_differ_from_chart_to_chart() -> None:
    def brushed() -> dict[str, object]:
        chart = alt.Chart(ROWS).mark_point().encode(x="t:Q", y="n:Q")
        return dict(chart.add_params(alt.selection_interval()).to_dict())

    assert renderer.render(brushed()) == renderer.render(brushed())
    assert renderer.VEGALITE_V5 in renderer.render(brushed())[0]


def test_what_vega_lite_5_would_draw_otherwise_is_not_said_to_be_v5() -> None:
    bundle, metadata = renderer.render(stacked())
    assert list(bundle) == [renderer.SVG, "text/plain"]
    assert metadata == {}


def test_what_vega_lite_5_does_not_know_is_not_said_to_be_v5() -> None:
    spec = line()
    svg = renderer.draw(spec)
    assert renderer.draws_alike(spec, svg)
    assert not renderer.draws_alike({**spec, "mark": "hologram"}, svg)
    assert not renderer.draws_alike({**spec, "mark": "point"}, svg)


def test_nothing_in_a_chart_needs_a_network() -> None:
    bundle, _ = renderer.render(line())
    svg = bundle[renderer.SVG]
    assert svg.count("http") == svg.count("http://www.w3.org/")
    assert "cdn" not in str(bundle)


def test_a_chart_that_cannot_be_drawn_is_text_that_says_why() -> None:
    bundle, _ = renderer.render({**line(), "mark": "hologram"})
    assert list(bundle) == ["text/plain"]
    assert "not drawn: " in bundle["text/plain"]


def test_without_vl_convert_a_chart_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    bundle, _ = renderer.render(line())
    assert list(bundle) == ["text/plain"]
    assert "pip install vl-convert-python" in bundle["text/plain"]


def test_enable_replaces_whatever_was_chosen() -> None:
    alt.renderers.enable("html")
    renderer.enable_if_default()
    assert alt.renderers.active == "html"
    renderer.enable()
    assert alt.renderers.active == renderer.NAME


def test_embed_options_can_be_given_to_altair() -> None:
    renderer.enable()
    alt.renderers.enable(renderer.NAME, embed_options={"renderer": "canvas"})
    shown = alt.Chart(ROWS).mark_point().encode(x="t:Q")._repr_mimebundle_()
    assert shown is not None
    assert shown[1][renderer.VEGALITE_V5]["embed_options"]["renderer"] == "canvas"


def test_ids_in_a_drawing_do_not_differ_from_chart_to_chart() -> None:
    stops = [alt.GradientStop(color=c, offset=i) for i, c in enumerate(("white", "red"))]
    chart = alt.Chart(ROWS).mark_area(clip=True, color=alt.Gradient(gradient="linear", stops=stops))
    spec = chart.encode(x="t:Q", y="n:Q").to_dict()
    first, second = renderer.draw(spec), renderer.draw(spec)
    assert first == second
    assert set(re.findall(r"url\(#(\w+)\)", first)) == set(re.findall(r' id="(\w+)"', first))
    assert "url(#id1)" in first
