"""Keeps the real world out of a simulation: wall clocks, sleeps, threads and sockets are refused.

While a simulation runs, the functions named here refuse to work in its thread and work as ever in
all others. What was imported by name before (`from time import monotonic`) is beyond reach.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from ddsched_nb.errors import VirtualTimeError

_CLOCK = "ask asyncio.get_running_loop().time()"
_REFUSED: Final[tuple[tuple[Any, str, str], ...]] = (
    *((time, name, _CLOCK) for name in ("time", "monotonic", "perf_counter")),
    *((time, f"{name}_ns", _CLOCK) for name in ("time", "monotonic", "perf_counter")),
    (time, "sleep", "await asyncio.sleep(seconds)"),
    (threading.Thread, "start", "stand for the work with await asyncio.sleep(seconds)"),
    (socket.socket, "__init__", "give simulate() profiles=[EndpointProfile(...)]"),
)
# Those that stamp what they write with the time, and decide nothing by it.
_MAY_LOOK: Final = ("logging", "warnings", "tempfile", "random", "uuid", "email.utils")

_lock = threading.Lock()
_simulating: set[int] = set()
_originals: dict[tuple[Any, str], Any] = {}


@contextmanager
def real_world_refused() -> Iterator[None]:
    """Refuses wall clocks, threads and sockets in this thread.

    Raises:
        VirtualTimeError: From what is refused, naming what to use instead.
    """
    thread = threading.get_ident()
    with _lock:
        if not _simulating:
            for owner, name, instead in _REFUSED:
                _originals[owner, name] = getattr(owner, name)
                setattr(owner, name, _guarded(owner, name, instead))
        _simulating.add(thread)
    try:
        yield
    finally:
        with _lock:
            _simulating.discard(thread)
            if not _simulating:
                for (owner, name), original in _originals.items():
                    setattr(owner, name, original)
                _originals.clear()


def _guarded(owner: Any, name: str, instead: str) -> Callable[..., Any]:
    original = getattr(owner, name)

    def guarded(*args: Any, **options: Any) -> Any:
        if threading.get_ident() in _simulating and not _may_look():
            raise VirtualTimeError(
                f"{owner.__name__}.{name} does not exist in virtual time; {instead}"
            )
        return original(*args, **options)

    return guarded


def _may_look() -> bool:
    caller = sys._getframe(2).f_globals.get("__name__", "")
    return caller.partition(".")[0] in _MAY_LOOK or caller in _MAY_LOOK
