"""What the analysis compares: which cases of the suite differ in one setting, and in which.

Names and questions only: how a comparison ends is read from the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ddsched_nb.bench.suite.cases import COMBINED

__all__ = ["TOPICS", "Topic"]


class Topic(NamedTuple):
    """A setting and the cases that show what it does.

    Attributes:
        title: The setting.
        about: What the cases have in common.
        cases: Keys of cases by what they are called here.
        pairs: Which of them is set beside which.
    """

    title: str
    about: str
    cases: Mapping[str, str]
    pairs: tuple[tuple[str, str], ...]


_FIRST: Final = COMBINED[0]

TOPICS: Final = (
    Topic(
        "Adaptive row groups against fixed",
        "512 rows of a slow and a fast step, one row in a row group, on eight slots. Too few open "
        "row groups leave slots idle; open rows are memory, and unfinished work in a crash.",
        {
            "one open": "adaptations/adaptive-row-groups-fixed-low",
            "adaptive": "adaptations/adaptive-row-groups-adaptive",
            "eight open": "adaptations/adaptive-row-groups-fixed-high",
        },
        (("adaptive", "one open"), ("adaptive", "eight open")),
    ),
    Topic(
        "Row groups that go up and down again",
        "The second of two models is closed for the first 60 ms, while the first goes on. Many "
        "open row groups pile up what nobody can work on yet.",
        {
            "adaptive": "both-ways/adaptive",
            "one open": "both-ways/fixed-one",
            "four open": "both-ways/fixed-few",
            "64 open": "both-ways/fixed-many",
        },
        (("adaptive", "one open"), ("adaptive", "four open"), ("adaptive", "64 open")),
    ),
    Topic(
        "The pressure advisory",
        "One slot and two models, of which the first is held by another for 50 ms. With the "
        "advisory, tasks of the open model go first.",
        {
            "off": "adaptations/request-pressure-control",
            "on": "adaptations/request-pressure-advisory",
        },
        (("on", "off"),),
    ),
    Topic(
        "The advisory on top of adaptive row groups",
        "The reference's combined case: the same two models, four slots, up to eight row groups of "
        "one row.",
        {
            "off": "adaptations/adaptive-request-pressure-control",
            "on": "adaptations/adaptive-request-pressure-combined",
        },
        (("on", "off"),),
    ),
    Topic(
        "Both adaptations where each needs the other",
        f"Three models that another holds for {1e3 * _FIRST.held_s:g} ms and one that is open, "
        f"{_FIRST.rows} rows, {_FIRST.slots} slots. Without further row groups there is no open "
        "peer to prefer; without the advisory those further row groups queue up behind the held "
        "models.",
        {
            "neither": f"{_FIRST.sweep}/control",
            "row groups": f"{_FIRST.sweep}/adaptive-row-groups",
            "advisory": f"{_FIRST.sweep}/advisory",
            "both": f"{_FIRST.sweep}/both",
        },
        (
            ("row groups", "neither"),
            ("advisory", "neither"),
            ("both", "row groups"),
            ("both", "advisory"),
        ),
    ),
    Topic(
        "Tasks that step aside while they wait",
        "A task whose calls wait for permits keeps its slots (hold), or leaves them to others "
        "(yield); the advisory is on in all four.",
        {
            "hold": "adaptations/request-pressure-advisory",
            "yield": "adaptations/request-pressure-yield",
            "hold, adaptive": "adaptations/adaptive-request-pressure-combined",
            "yield, adaptive": "adaptations/adaptive-request-pressure-yield",
        },
        (("yield", "hold"), ("yield, adaptive", "hold, adaptive")),
    ),
    Topic(
        "Task policies",
        "Long tasks hold every slot by the time that short ones of a second column are ready. "
        "Strict fairness lends what is idle; bounded borrowing books it as a debt; a ceiling keeps "
        "slots free for whoever comes late.",
        {
            "strict fair": "task-policy/strict-fair",
            "bounded borrow": "task-policy/bounded-borrow",
            "with a ceiling": "task-policy/bounded-borrow-ceiling",
        },
        (("bounded borrow", "strict fair"), ("with a ceiling", "strict fair")),
    ),
    Topic(
        "How the limit of a model moves",
        "An endpoint that refuses more than 12 calls at once, and a client that may ask for 32. "
        "A fixed limit never learns; aimd, the reference's, pauses after each refusal and climbs "
        "slowly; a ceiling goes to what was really served.",
        {"fixed": "limit/fixed", "aimd": "limit/aimd", "ceiling": "limit/ceiling"},
        (("ceiling", "fixed"), ("ceiling", "aimd")),
    ),
)
"""The comparisons, in the order in which they are told."""
