"""What displaying a run gives a front end: widgets in a notebook, a line in a terminal.

Decides which of the two, and that a run has one live view however often it is displayed. Imports
ipywidgets only when a notebook asks, and does without where it is missing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ddsched_nb.wording import facts, progress_line

if TYPE_CHECKING:
    from ddsched_nb.views.panel import LiveRun, LiveView

# A view lets go of its run when that has ended, so an entry does not keep its own key alive.
_views: WeakKeyDictionary[LiveRun, LiveView] = WeakKeyDictionary()


def mimebundle(run: LiveRun) -> dict[str, Any]:
    """What `Run._repr_mimebundle_` returns.

    In a notebook: the live view, and a text of facts that do not depend on speed, so that strict
    nbval can compare it. Elsewhere: one line that says how the run stands.
    """
    stats = run.statistics()
    if not _in_kernel():
        return {"text/plain": progress_line(stats)}
    text = {"text/plain": facts(stats)}
    try:
        return {**live_view(run).mimebundle(), **text}
    except ImportError:
        return text


def live_view(run: LiveRun) -> LiveView:
    """The one live view of a run, made when it is first asked for, or after it was closed.

    Raises:
        ImportError: ipywidgets is not installed.
    """
    from ddsched_nb.views.panel import LiveView

    view = _views.get(run)
    if view is None or view.closed:
        view = _views[run] = LiveView(run)
    return view


def _in_kernel() -> bool:
    """Whether a Jupyter kernel runs this code; a plain IPython terminal has none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
