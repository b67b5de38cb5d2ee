"""The progress line of a run on a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import NoReturn

from ddsched_nb.aio.statistics import RunStatistics
from ddsched_nb.wording import progress_line

_EVERY_S = 0.5


def wants_progress(asked: bool | None) -> bool:
    """Whether to show the line: as asked; if nothing was, on a terminal outside notebooks."""
    if asked is not None:
        return asked
    return sys.stderr.isatty() and "ipykernel" not in sys.modules


async def show_progress(statistics: Callable[[], RunStatistics]) -> NoReturn:
    """Prints the line again and again, until it is cancelled."""
    while True:
        print_progress(statistics(), last=False)
        await asyncio.sleep(_EVERY_S)


def print_progress(statistics: RunStatistics, *, last: bool) -> None:
    """Prints the line over the one before it."""
    line = progress_line(statistics)
    print(f"\r{line:<100}", end="\n" if last else "", file=sys.stderr, flush=True)
