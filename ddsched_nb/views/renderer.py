"""Shows Altair charts without a network: decides which forms of a chart a notebook is given.

Altair's default renderer loads scripts from a CDN, and JupyterLab 4.6 bundles Vega-Lite 5 while
Altair 6 speaks version 6. So a chart is given as

- `application/vnd.vegalite.v5+json`, but only if Vega-Lite 5 draws it exactly as version 6 does
  (both are asked: stacking of areas, for one, changed). JupyterLab prefers this form, draws it
  with what it has on board, with tooltips, and does so in notebooks that are not trusted yet;
- `image/svg+xml`, which every other front end shows, and JupyterLab where the first is missing;
- `text/plain`, the chart's facts in words.

All three are functions of the chart alone (Altair names its parameters by content), so strict
nbval can compare them.

Importing this module changes nothing. `enable` is explicit; making the first chart of
`ddsched_nb.views.charts` calls `enable_if_default`, which leaves a renderer alone that somebody
chose (`alt.renderers.enable("html")`, say). This module must not know what is drawn.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

import altair as alt

from ddsched_nb.views.specs import Spec, as_v5, describe

NAME: Final = "ddsched"
VEGALITE_V5: Final = "application/vnd.vegalite.v5+json"
SVG: Final = "image/svg+xml"

# Nothing in the menu may need a network: the online editor is left out.
_EMBED: Final = {
    "renderer": "svg",
    "actions": {"export": True, "source": False, "compiled": False, "editor": False},
}
# Newest first; JupyterLab 4.6 itself has 5.6.1, older than any that vl-convert has.
_V5: Final = "5.8"
_ID: Final = re.compile(r'( id="|url\(#|href="#)([^")]+)')
_DESCRIPTIONS: Final = re.compile(r' aria-[a-z]+="[^"]*"')

_log = logging.getLogger(__name__)

Bundle = dict[str, Any]


def enable() -> None:
    """Makes this the renderer of all Altair charts of the process, until another is enabled."""
    alt.renderers.register(NAME, render)
    alt.renderers.enable(NAME)


def enable_if_default() -> None:
    """Enables this renderer unless the user chose one."""
    if alt.renderers.active == "default":
        enable()


def render(spec: Spec, **options: Any) -> tuple[Bundle, Bundle]:
    """A chart's forms and their metadata; what Altair calls to display a chart.

    A chart that cannot be drawn here is shown as text that says why.

    Args:
        spec: A Vega-Lite spec as Altair emits it.
        options: `embed_options` for Vega-Embed; anything else is ignored.
    """
    text = describe(spec)
    try:
        svg = draw(spec)
    except (ImportError, ValueError) as error:
        return {"text/plain": f"{text}\nnot drawn: {_reason(error)}"}, {}
    bundle: Bundle = {SVG: svg, "text/plain": text}
    if not draws_alike(spec, svg):
        return bundle, {}
    metadata = {VEGALITE_V5: {"embed_options": {**_EMBED, **options.get("embed_options", {})}}}
    return {VEGALITE_V5: as_v5(spec), **bundle}, metadata


def draw(spec: Spec) -> str:
    """The chart as SVG, by the Vega-Lite version that it asks for.

    Raises:
        ImportError: vl-convert is not installed.
        ValueError: Vega-Lite rejects the spec, or cannot reach its data.
    """
    return _svg(spec, _version(spec))


def draws_alike(spec: Spec, svg: str) -> bool:
    """Whether Vega-Lite 5 draws the spec as `svg` shows it.

    Only the drawing counts, not what it says to screen readers: those texts vary between
    versions. A spec that version 5 rejects is not alike.
    """
    try:
        old = _svg(as_v5(spec), _V5)
    except ValueError as error:
        _log.debug("Vega-Lite %s does not take the chart: %s", _V5, error)
        return False
    return _DESCRIPTIONS.sub("", old) == _DESCRIPTIONS.sub("", svg)


def _version(spec: Spec) -> str:
    """The Vega-Lite version a spec asks for, or the newest there is."""
    import vl_convert

    known = [str(version) for version in vl_convert.get_vegalite_versions()]
    asked = re.search(r"/v(\d+\.\d+)", str(spec.get("$schema", "")))
    return asked[1] if asked and asked[1] in known else known[-1]


def _svg(spec: Spec, version: str) -> str:
    import vl_convert

    return _numbered_anew(str(vl_convert.vegalite_to_svg(spec, vl_version=version)))


def _numbered_anew(svg: str) -> str:
    """The drawing with its ids counted from 1: Vega counts them over all charts of a process."""
    ids: dict[str, str] = {}

    def numbered(found: re.Match[str]) -> str:
        return found[1] + ids.setdefault(found[2], f"id{len(ids) + 1}")

    return _ID.sub(numbered, svg)


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "vl-convert is missing; pip install vl-convert-python"
    return str(error).strip().partition("\n")[0]
