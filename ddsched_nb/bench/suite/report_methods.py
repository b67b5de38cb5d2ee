"""The report's last part: how it was measured, and what its words mean. A string of HTML."""

from __future__ import annotations

from html import escape
from typing import Final

from ddsched_nb.bench.suite.summary import Summary

__all__ = ["methods"]

_WORDS: Final = (
    (
        "Lower bound",
        "No schedule of the case's work is faster, given its fixed knobs: the longest chain, the "
        "work of each model over its capacity, that of the task slots over theirs, and that of the "
        "row groups that may be open.",
    ),
    (
        "Oracle",
        "List scheduling in row order that knows the capacity, is never refused and has every row "
        "group open; so a case with few open row groups cannot reach it.",
    ),
    (
        "In use, idle",
        "A slot is in use from a task's admission to its end, whatever the task does meanwhile. "
        "Capacity time is capacity times the time of the run; shares are of that.",
    ),
    (
        "Starved",
        "Idle slot time while anything that needs such a slot was queued; all idle slots count, as "
        "in the reference.",
    ),
    ("Frontier", "The other idle slot time: no task had all its inputs, or no row group was open."),
    (
        "Useful",
        "Declared service time of all cells over the time of the slots, or permits, there were for "
        "it. Unlike utilization it does not grow when a loop lags.",
    ),
    (
        "Leased wait",
        "Seconds that requests waited for permits while their tasks held their slots, summed over "
        "requests; the mean of the runs.",
    ),
    ("Skips", "Tasks that the pressure advisory passed over, summed over the runs."),
    (
        "Causes",
        "Every idle slot of every resource has, at every instant, exactly one cause out of a "
        "closed list; for each resource they sum to what was idle.",
    ),
    (
        "Over time",
        "The first run of a case, cut into equal spans: means of what was leased, in flight or "
        "open, and the number of refusals.",
    ),
    (
        "Controls",
        "Cases that keep a behaviour on purpose so that others can be compared; no bound is asked "
        "of them.",
    ),
)


def methods(summary: Summary) -> str:
    """Methods and definitions."""
    how = (
        "Every case ran on the very scheduler that real runs use, on an event loop whose clock "
        "jumps. Two runs give equal figures, to the last digit."
        if summary.clock == "virtual"
        else "Every case ran on a real asyncio loop with real sleeps. Its bound is that of the "
        "services as long as a bare loop needs for the same sleeps, as many at once: the shorter "
        "of two medians, measured before and after. Other work on the machine is in all other "
        "figures. The settings in which both adaptations are needed, and row groups both ways, are "
        "stretched by ten."
    )
    words = "".join(f"<dt>{escape(w)}</dt><dd>{escape(t)}</dd>" for w, t in _WORDS)
    return (
        f'<h2 id="methods">Methods and definitions</h2><p>{escape(how)}</p><p>Cases and formulas '
        "are those of the idle suite of Data Designer's pull request 661, version "
        f"{escape(summary.suite_version)}; its figures are from the report published there, in "
        f"real time on another machine.</p><dl>{words}</dl>"
    )
