"""Tables as strings: aligned, escaped, one line a cell."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, strategies as st

from ddsched_nb.reprs import html_table, text_table

CELLS = st.lists(st.tuples(st.text(), st.text()), max_size=5)
# XML, unlike HTML, knows no surrogates and no control characters; the parser here is an XML one.
PLAIN = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]))


def test_text_table_sets_numbers_to_the_right() -> None:
    text = text_table(["model", "requests", "limit"], [["a", 7, "8 of 32"], ["writer", 1204, "-"]])
    assert text.split("\n") == [
        "model   requests    limit",
        "------  --------  -------",
        "a              7  8 of 32",
        "writer      1204        -",
    ]


def test_text_table_sets_words_to_the_left_and_says_its_caption() -> None:
    rows = [["throttle", "request_admission"], ["x", "1"]]
    text = text_table(["field", "now"], rows, caption="T")
    assert text.split("\n") == [
        "T",
        "field     now",
        "--------  -----------------",
        "throttle  request_admission",
        "x         1",
    ]


def test_text_table_without_rows_is_its_head() -> None:
    assert text_table(["model", "limit"], []) == "model  limit\n-----  -----"


def test_text_table_counts_wide_signs_twice() -> None:
    lines = text_table(["a", "b"], [["\u6f22", "x"], ["zz", "y"]]).split("\n")
    assert lines[2:] == ["\u6f22  x", "zz  y"]


@given(CELLS)
def test_text_table_has_one_line_a_row_whatever_the_cells_hold(rows: list[tuple[str, str]]) -> None:
    lines = text_table(["a", "b"], rows).split("\n")
    assert len(lines) == 2 + len(rows)
    assert all(line.isprintable() and line == line.rstrip() for line in lines)


def test_html_table_escapes_everything() -> None:
    html = html_table(["<b>"], [['<script>"&'], ["'"]], caption="<i>")
    assert "<script>" not in html
    assert "&lt;script&gt;&quot;&amp;" in html
    assert "<caption>&lt;i&gt;</caption>" in html
    assert ">&lt;b&gt;</th>" in html


@given(PLAIN, st.lists(st.tuples(PLAIN, PLAIN), max_size=4))
def test_html_table_is_well_formed_and_says_what_each_header_is_for(
    caption: str, rows: list[tuple[str, str]]
) -> None:
    table = ElementTree.fromstring(html_table(["name", "n"], rows, caption=caption))
    assert table.findtext("caption") == " ".join(caption.split())
    assert [cell.get("scope") for cell in table.findall("thead/tr/th")] == ["col", "col"]
    lines = table.findall("tbody/tr")
    assert [line.find("th").get("scope") for line in lines] == ["row"] * len(rows)
    assert [(line.findtext("th"), line.findtext("td")) for line in lines] == [
        (" ".join(a.split()), " ".join(b.split())) for a, b in rows
    ]


@pytest.mark.parametrize("make", [text_table, lambda h, r: html_table(h, r, caption="c")])
def test_a_row_of_another_length_is_refused(make) -> None:
    with pytest.raises(ValueError, match="row 1 has 1 cells; the head has 2"):
        make(["a", "b"], [["1", "2"], ["3"]])
