"""The look of explorers, as one style sheet. Every rule is bound to a class of our own.

Colours come from JupyterLab's theme, with a fallback. Each kind of line has a dash of its own and
each kind of bar a hatch, so none is told by its colour alone.
"""

from __future__ import annotations

from typing import Final

CSS: Final = """
.ddsched-explorer { --ink: var(--jp-ui-font-color1, CanvasText);
  --soft: var(--jp-ui-font-color2, #767676); --line: var(--jp-border-color2, #7f7f7f55);
  --track: color-mix(in srgb, var(--ink) 13%, transparent);
  --brand: var(--jp-brand-color1, #0072b2);
  --pale: color-mix(in srgb, var(--brand) 40%, transparent);
  --warn: var(--jp-warn-color1, #c77700); --bad: var(--jp-error-color1, #d32f2f);
  font-family: var(--jp-ui-font-family, system-ui, sans-serif); color: var(--ink);
  max-width: 900px; box-sizing: border-box; padding: 9px 12px 10px;
  border: 1px solid var(--line); border-radius: 4px; background: var(--jp-layout-color1, none); }
.ddsched-explorer .widget-html { margin: 0; min-width: 0; height: auto; width: auto;
  overflow: visible; }
.ddsched-explorer .widget-html-content { font-size: 12px; line-height: 18px; color: var(--ink); }
.ddsched-explorer .widget-box, .ddsched-explorer .jupyter-widgets { margin: 0; }
.ddsched-explorer table { border-collapse: collapse; font-size: 12px; color: var(--ink);
  font-variant-numeric: tabular-nums; table-layout: auto; }
.ddsched-explorer tr, .ddsched-explorer tbody tr:nth-child(odd) { background: none; }
.ddsched-explorer th, .ddsched-explorer td { padding: 2px 0 2px 10px; text-align: right;
  font-weight: 400; border: 0; vertical-align: middle; color: var(--ink); max-width: none; }
.ddsched-explorer th:first-child { padding-left: 0; text-align: left; max-width: 180px;
  overflow: hidden; text-overflow: ellipsis; }
.ddsched-explorer thead th { color: var(--soft); border-bottom: 1px solid var(--line); }
.ddsched-explorer .ddsched-buttons { gap: 6px; }
.ddsched-explorer .ddsched-buttons .jupyter-button { width: auto; height: 24px; line-height: 22px;
  padding: 0 9px; font-size: 12px; border-radius: 3px; margin: 0; }
.ddsched-explorer .soft { color: var(--soft); }
.ddsched-explorer .dx-title { font-size: 14px; font-weight: 600; }
.ddsched-explorer .dx-controls { display: grid; gap: 2px 28px; margin: 4px 0;
  grid-template-columns: repeat(auto-fit, minmax(min(330px, 100%), 1fr)); overflow: visible; }
.ddsched-explorer .dx-control { min-width: 0; overflow: visible; }
.ddsched-explorer .dx-row .widget-inline-hbox { height: 28px; }
.ddsched-explorer .dx-control .widget-label { width: 154px; flex: none; text-align: left;
  color: var(--ink); font-size: 12px; }
.ddsched-explorer .dx-row { overflow: visible; gap: 10px; }
.ddsched-explorer .dx-row .dx-number { width: 228px; flex: none; }
.ddsched-explorer .dx-row .dx-slider { width: auto; flex: 1 1 80px; min-width: 80px; }
.ddsched-explorer .dx-row .dx-wide { width: 100%; }
.ddsched-explorer .dx-row .dx-check { width: 100%; }
.ddsched-explorer .dx-row .dx-check .widget-label { width: auto; }
.ddsched-explorer .dx-note, .ddsched-explorer .dx-trouble { color: var(--bad); font-size: 12px;
  padding-left: 8px; border-left: 3px solid var(--bad); white-space: normal; height: auto; }
.ddsched-explorer .dx-status { color: var(--soft); min-height: 18px; font-size: 12px; }
.ddsched-explorer table { width: auto; min-width: 400px; max-width: 780px; margin: 4px 0 8px; }
.ddsched-explorer caption { caption-side: top; text-align: left; color: var(--soft);
  padding: 2px 0; }
.ddsched-explorer td, .ddsched-explorer th { white-space: normal; }
.ddsched-explorer tr.dx-now th, .ddsched-explorer tr.dx-now td { font-weight: 600;
  border-top: 1px solid var(--ink); border-bottom: 1px solid var(--ink); }
.ddsched-explorer .dx-said { margin: 4px 0; font-size: 13px; line-height: 19px; }
.ddsched-explorer .dx-order { display: flex; flex-wrap: wrap; gap: 3px; margin: 4px 0 8px; }
.ddsched-explorer .dx-order span { border: 1px solid var(--line); border-radius: 2px;
  padding: 0 5px; font-variant-numeric: tabular-nums; }
.ddsched-explorer .dx-order span.dx-live { border: 1px solid var(--brand);
  box-shadow: inset 0 -3px 0 var(--brand); }
.ddsched-explorer .dx-order span.dx-lent { border-style: dashed; }
.dx-legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 12px; margin-top: 4px; }
.dx-legend span { display: inline-flex; align-items: center; gap: 6px; }
svg.dx-sample { width: 26px; height: 12px; flex: none; }
svg.dx-plot { display: block; width: 100%; max-width: 780px; height: auto; }
svg.dx-plot text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
.dx-axis { stroke: var(--soft); fill: none; } .dx-grid { stroke: var(--line); fill: none; }
.dx-upright { stroke: var(--ink); stroke-dasharray: 3 3; fill: none; }
.dx-line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.dx-line.dx-first { stroke: var(--brand); }
.dx-line.dx-second { stroke: var(--warn); stroke-dasharray: 6 3; }
.dx-line.dx-edge { stroke: var(--soft); stroke-dasharray: 2 2; stroke-width: 1.4; }
.dx-area.dx-hidden { fill: var(--track); } .dx-area.dx-first { fill: var(--pale); }
.dx-span.dx-first { fill: var(--brand); }
.dx-span.dx-wait { fill: none; stroke: var(--warn); stroke-width: 1.4; stroke-dasharray: 4 2; }
.dx-span.dx-others { fill: var(--track); stroke: var(--soft); stroke-dasharray: 1 2; }
"""
