"""Explorers: small experiments in virtual time, with sliders. Each answers within half a second.

Displayed in a notebook an explorer has controls and a picture; anywhere it prints its facts, and
`change(...)` does what the controls do.

    dd.explorers.aimd_explorer()        a limit against a hidden capacity, beside the oracle
    dd.explorers.fair_queue_stepper()   who is next, who is denied, who owes what, step by step
    dd.explorers.row_group_explorer()   a fixed number of open row groups against the adaptive one
    dd.explorers.pressure_explorer()    two models, one of them held: who goes first, who is skipped
"""

from __future__ import annotations

from ddsched_nb.views.explorers.aimd import aimd_explorer
from ddsched_nb.views.explorers.fair_queue import fair_queue_stepper
from ddsched_nb.views.explorers.pressure import pressure_explorer
from ddsched_nb.views.explorers.row_groups import row_group_explorer

__all__ = ["aimd_explorer", "fair_queue_stepper", "pressure_explorer", "row_group_explorer"]
