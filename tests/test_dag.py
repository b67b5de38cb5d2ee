from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

import ddsched_nb as dd
from ddsched_nb.dag import Node, svg_graph, text_graph

NAME = "{http://www.w3.org/2000/svg}"
DIAMOND = (
    Node("cars", given=True),
    Node("top", ("cars",), "writer"),
    Node("left", ("top",)),
    Node("right", ("top",)),
    Node("bottom", ("left", "right", "cars"), "judge"),
)


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each box, by the name in it."""
    found = {}
    for group in ElementTree.fromstring(svg).findall(f"{NAME}g"):
        rect = group.find(f"{NAME}rect")
        if rect is not None:
            x, y, width, height = (float(rect.get(k) or 0) for k in ("x", "y", "width", "height"))
            found[group.findtext(f"{NAME}text") or ""] = (x, y, x + width, y + height)
    return found


def points(svg: str) -> list[tuple[float, float]]:
    """Where the lines between boxes go, joints and the curves between them."""
    found: list[tuple[float, float]] = []
    for path in re.findall(r'<path d="(M[^z"]*)"/>', svg):
        here = (0.0, 0.0)
        for step, numbers in re.findall(r"([MLC])([\d. ]+)", path):
            values = [float(number) for number in numbers.split()]
            ends = list(zip(values[::2], values[1::2], strict=True))
            curve = [here, *ends] if step == "C" else [here, here, ends[-1], ends[-1]]
            found += [_on(curve, t / 20) for t in range(21)] if step != "M" else []
            here = ends[-1]
    return found


def _on(curve: list[tuple[float, float]], t: float) -> tuple[float, float]:
    """A point of a cubic curve."""
    shares = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    x, y = (sum(s * point[k] for s, point in zip(shares, curve, strict=True)) for k in (0, 1))
    return x, y


def test_the_text_says_who_needs_whom() -> None:
    assert text_graph(DIAMOND).splitlines() == [
        "cars",
        "top (writer) <- cars",
        "left <- top",
        "right <- top",
        "bottom (judge) <- left, right, cars",
    ]


def test_what_is_needed_stands_to_the_left_and_no_boxes_overlap() -> None:
    found = boxes(svg_graph(DIAMOND, title="work"))
    assert set(found) == {node.name for node in DIAMOND}
    for node in DIAMOND:
        assert all(found[need][2] < found[node.name][0] for need in node.needs)
    placed = list(found.values())
    for i, (left, top, right, bottom) in enumerate(placed):
        for x, y, to_x, to_y in placed[i + 1 :]:
            assert right <= x or to_x <= left or bottom <= y or to_y <= top


def test_a_line_that_passes_layers_crosses_no_box() -> None:
    svg = svg_graph([*DIAMOND, Node("end", ("bottom", "top", "cars"))], title="work")
    found = boxes(svg)
    assert len(points(svg)) > 100
    for x, y in points(svg):
        for left, top, right, bottom in found.values():
            assert not (left < x < right and top < y < bottom)


def test_the_picture_is_an_image_with_words_and_is_the_same_twice() -> None:
    svg = svg_graph(DIAMOND, title="work")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == "work: " + "; ".join(text_graph(DIAMOND).splitlines())
    assert svg == svg_graph(DIAMOND, title="work")
    assert "stroke-dasharray" in svg


def test_hostile_and_long_names_are_escaped_and_cut() -> None:
    hostile = '<img src=x onerror=1>"&'
    svg = svg_graph([Node(hostile, note=hostile), Node("n" * 90, (hostile,))], title=hostile)
    assert "<img" not in svg
    assert [text.text for text in ElementTree.fromstring(svg).iter(f"{NAME}text")] == [
        hostile,
        hostile,
        "n" * 27 + "\u2026",
    ]


@pytest.mark.parametrize("nodes", [(), (Node("only"),)])
def test_few_nodes_are_drawn(nodes: tuple[Node, ...]) -> None:
    assert len(boxes(svg_graph(nodes, title="work"))) == len(nodes)


def test_many_nodes_are_drawn_inside_the_picture() -> None:
    nodes = [Node(f"c{i}", tuple(f"c{k}" for k in (i - 7, i - 1) if k >= 0)) for i in range(60)]
    svg = svg_graph(nodes, title="work")
    root = ElementTree.fromstring(svg)
    for left, top, right, bottom in boxes(svg).values():
        assert 0 <= left < right <= float(root.get("width") or 0)
        assert 0 <= top < bottom <= float(root.get("height") or 0)


def test_a_pipeline_shows_its_graph() -> None:
    work = dd.find_workload("diamond").pipeline
    html = work._repr_html_()
    assert html.startswith("<div")
    assert 'role="img"' in html
    assert str(work).splitlines()[1].startswith("top (")
    assert "bottom (shared) <- left, right" in str(work)
