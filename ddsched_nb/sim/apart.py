"""Does work that runs loops of its own where no loop may run: in a thread, if one runs here."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """Does it here, or in a thread where a loop runs already; context variables come along."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    carried = contextvars.copy_context()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(carried.run, work).result()
