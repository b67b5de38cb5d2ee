"""Tables as strings: plain text for terminals and tests, HTML for notebooks.

Decides how a table is laid out and that every cell is escaped. It must not know what a cell means,
who asks, or where the text is shown, and needs the standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from typing import Protocol

__all__ = [
    "Printer",
    "brief",
    "facts_html",
    "html_table",
    "settings_html",
    "settings_line",
    "tell_whole",
    "text_table",
]

# What a repr takes at the most.
LINE = 200


# Counts, amounts and shares, also as "8 of 32" and "1,024 / 2,048"; "-" and "" stand for no number.
_NUMBER = re.compile(r"[-+]?[\d,.]+(?:e[-+]?\d+)?\s?(?:%|s|ms)?(?:\s(?:of|/)\s[\d,.]+)?|-?")
_GAP = "  "


def text_table(
    head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str | None = None
) -> str:
    """A table in plain text, without trailing blanks. Columns of numbers are set to the right.

    Args:
        head: Names of the columns.
        rows: The cells, as many a row as `head` has; each is shown as `str` gives it, in one line.
        caption: A line above the table.

    Raises:
        ValueError: A row is longer or shorter than `head`.
    """
    names, body = _cells(head, rows)
    right = _numeric(names, body)
    widths = [max(map(_width, column)) for column in zip(names, *body, strict=True)]
    lines = [names, ["-" * width for width in widths], *body]
    text = [_line(cells, widths, right) for cells in lines]
    return "\n".join([_one_line(caption), *text] if caption else text)


def html_table(head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str) -> str:
    """A table in HTML. Everything is escaped, and the first cell of a row is its header.

    Args:
        head: Names of the columns.
        rows: The cells, as many a row as `head` has.
        caption: What the table shows; screen readers say it first.

    Raises:
        ValueError: A row is longer or shorter than `head`.
    """
    names, body = _cells(head, rows)
    right = _numeric(names, body)
    heads = "".join(map(_head, names, right))
    lines = "".join(f"<tr>{_row(cells, right)}</tr>" for cells in body)
    return (
        f"<table><caption>{escape(_one_line(caption))}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    )


def _cells(
    head: Sequence[object], rows: Iterable[Sequence[object]]
) -> tuple[list[str], list[list[str]]]:
    names = [_one_line(name) for name in head]
    body = [[_one_line(cell) for cell in row] for row in rows]
    for number, row in enumerate(body):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} cells; the head has {len(names)}")
    return names, body


def _one_line(value: object) -> str:
    # A line break or a control character in a cell would break the table or move the cursor.
    text = " ".join(str(value).split())
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _numeric(names: list[str], body: list[list[str]]) -> list[bool]:
    """For each column, whether it holds numbers. The first names the row and never does."""
    return [
        index > 0 and bool(body) and all(_NUMBER.fullmatch(row[index]) for row in body)
        for index in range(len(names))
    ]


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    return _GAP.join(map(_pad, cells, widths, right)).rstrip()


def _pad(cell: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(cell))
    return blanks + cell if right else cell + blanks


def _width(text: str) -> int:
    """Columns a terminal takes for `text`: wide signs take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def _head(name: str, right: bool) -> str:
    return f'<th scope="col"{_style(right)}>{escape(name)}</th>'


def _row(cells: list[str], right: list[bool]) -> str:
    first = f'<th scope="row"{_style(False)}>{escape(cells[0])}</th>' if cells else ""
    rest = zip(cells[1:], right[1:], strict=True)
    return first + "".join(f"<td{_style(aside)}>{escape(cell)}</td>" for cell, aside in rest)


def _style(right: bool) -> str:
    # JupyterLab sets every cell to the right unless a cell says otherwise.
    return f' style="text-align: {"right" if right else "left"}"'


def brief(text: object, width: int = LINE) -> str:
    """A text in one line, cut to a width; three dots show that something was cut."""
    line = _one_line(text)
    return line if len(line) <= width else line[: width - 3] + "..."


def settings_line(name: str, fields: Iterable[tuple[str, object, object]]) -> str:
    """Settings in one line: only what differs from its default.

    Args:
        name: Whose settings they are.
        fields: Name, value and default of each.
    """
    changed = [f"{field}={value!r}" for field, value, default in fields if value != default]
    return brief(f"{name}({', '.join(changed)})")


def settings_html(name: str, fields: Iterable[tuple[str, object, object]]) -> str:
    """Settings as a table; those that differ from their default come first.

    Args:
        name: Whose settings they are.
        fields: Name, value and default of each.
    """
    ordered = sorted(fields, key=lambda field: field[1] == field[2])
    rows = [(field, brief(value), brief(default)) for field, value, default in ordered]
    return html_table(("setting", "value", "default"), rows, caption=name)


def facts_html(caption: str, facts: Iterable[tuple[str, object]]) -> str:
    """A table of facts, one a line.

    Args:
        caption: What they are about.
        facts: Name and value of each.
    """
    rows = [(name, brief(value)) for name, value in facts]
    return html_table(("what", "value"), rows, caption=brief(caption))


class Printer(Protocol):
    """What IPython hands to `_repr_pretty_`.

    Attributes:
        stack: What is being shown, each thing inside of the one before.
    """

    stack: list[int]

    def text(self, obj: str) -> None:
        """Prints as it stands."""


def tell_whole(shown: object, printer: Printer, cycle: bool) -> None:
    """What a cell, or a line of a shell, shows of something: its table, not its one-line repr.

    To be had as `_repr_pretty_`. Inside of other things the repr stays; a table would tear them.
    """
    printer.text(repr(shown) if cycle or len(printer.stack) > 1 else str(shown))
