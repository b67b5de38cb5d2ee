"""Watch a run that is over, or two side by side: the live view again, with a clock to turn.

Decides what is sent to a screen; the browser plays it by itself, at any speed, forth and back. What
a moment looks like is decided in `playback`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddsched_nb.errors import ConfigError
from ddsched_nb.views.playback import Track, track_of
from ddsched_nb.views.source import Source, events_of, said
from ddsched_nb.views.widgets import close_all
from ddsched_nb.wording import plural

__all__ = ["Watch", "watch"]

_MOST = 2


def watch(record: Source | Mapping[str, Source], *, frames: int = 300) -> Watch:
    """Plays a record: what the live view showed, at any speed, forth and back.

    Args:
        record: The record of a run or of a simulation; or two of them by name, which are played
            side by side on one clock.
        frames: Moments that are shown, at least 2; between them the earlier one stands.

    Returns:
        What a notebook displays; elsewhere its text says the facts.

    Raises:
        ConfigError: A record holds no events, or there are more than two of them.
    """
    given = record if isinstance(record, Mapping) else {"": record}
    if not 1 <= len(given) <= _MOST:
        raise ConfigError(f"watch() was given {len(given)} records; give one or two")
    tracks = {name: track_of(events_of(each), frames) for name, each in given.items()}
    return Watch(tracks, {name: words for name, each in given.items() if (words := said(each))})


class Watch:
    """Runs that are over, ready to be played. Made by `watch`.

    Args:
        tracks: Each by its name; a single one needs none.
        notes: What else is to be said of some of them: that a record is cut.
    """

    def __init__(self, tracks: Mapping[str, Track], notes: Mapping[str, str] | None = None) -> None:
        self.tracks = dict(tracks)
        self._notes = dict(notes or {})
        self._screen: Any = None

    def __repr__(self) -> str:
        lines = [(_line(name, track), self._notes.get(name)) for name, track in self.tracks.items()]
        return "\n".join(f"{line}; {note}" if note else line for line, note in lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        try:
            return self.widget._repr_mimebundle_()
        except ImportError:
            return {"text/plain": repr(self)}

    @property
    def widget(self) -> Any:
        """The screen, made when it is first asked for.

        Raises:
            ImportError: anywidget is not installed.
        """
        if self._screen is None or self._screen.comm is None:
            from ddsched_nb.views.screen import Screen

            sent = [_sent(name, track) for name, track in self.tracks.items()]
            self._screen = Screen({"k": "replay", "tracks": sent}, self.__repr__)
        return self._screen

    def close(self) -> None:
        """Removes the widget."""
        if self._screen is not None:
            close_all(self._screen)
            self._screen = None


def _sent(name: str, track: Track) -> dict[str, Any]:
    return {
        "name": name,
        "shape": track.shape,
        "frames": track.frames,
        "notes": track.notes,
        "errors": track.errors,
        "refusals": track.refusals,
    }


def _line(name: str, track: Track) -> str:
    """The facts of a track, in words."""
    called = f"{name}: " if name else ""
    rows = plural(track.shape["rows"], "row")
    models = plural(len(track.shape["pools"]), "model")
    refused = plural(sum(pool[4] for pool in track.last["pools"]), "refusal")
    return f"{called}{track.duration_s:.2f} s, {rows}, {models}, {refused}"
