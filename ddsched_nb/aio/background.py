"""An event loop in a daemon thread, for code that has none of its own. Made on first use."""

from __future__ import annotations

import asyncio
import threading

_lock = threading.Lock()
_background: asyncio.AbstractEventLoop | None = None


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop of runs and limiters that are used where no loop runs."""
    global _background
    with _lock:
        if _background is None or _background.is_closed():
            _background = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_background.run_forever, name="ddsched-nb", daemon=True
            )
            thread.start()
        return _background
