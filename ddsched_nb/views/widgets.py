"""What views of plain ipywidgets have in common: how they are closed, shown, and find their loop.

It must not know what a widget shows.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

__all__ = ["close_all", "running_loop", "view_bundle"]

_VIEW: Final = "application/vnd.jupyter.widget-view+json"


def close_all(widget: Any) -> None:
    """Closes a widget with everything inside it, layouts and styles included."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    for name in ("layout", "style"):
        part = getattr(widget, name, None)
        if part is not None:
            part.close()
    widget.close()


def view_bundle(widget: Any) -> dict[str, Any]:
    """A widget's own form for a notebook, without a text."""
    version = {"version_major": 2, "version_minor": 0}
    return {_VIEW: {**version, "model_id": widget.model_id}}


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs here, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
