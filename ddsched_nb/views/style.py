"""The look of the live view: one style sheet, as a string, so that it cannot miss the wheel.

Colours come from JupyterLab's theme (light, dark, any other), with a fallback for front ends that
have no such variables. Every rule is bound to a class of our own.
"""

from __future__ import annotations

from typing import Final

CSS: Final = """
.ddsched { --ink: var(--jp-ui-font-color1, currentColor);
  --soft: var(--jp-ui-font-color2, #767676); --line: var(--jp-border-color2, #7f7f7f55);
  --track: color-mix(in srgb, var(--ink) 13%, transparent);
  --brand: var(--jp-brand-color1, #0072b2);
  --pale: color-mix(in srgb, var(--brand) 40%, transparent);
  --good: var(--jp-success-color1, #2e7d32); --warn: var(--jp-warn-color1, #c77700);
  --bad: var(--jp-error-color1, #d32f2f);
  font-family: var(--jp-ui-font-family, system-ui, sans-serif);
  color: var(--ink); max-width: 900px; box-sizing: border-box; padding: 9px 12px 10px;
  border: 1px solid var(--line); border-radius: 4px; background: var(--jp-layout-color1, none); }
.ddsched .widget-html { margin: 0; min-width: 0; height: auto; width: auto; overflow: visible; }
.ddsched .widget-html-content { font-size: 12px; line-height: 18px; color: var(--ink); }
.ddsched .widget-box, .ddsched .jupyter-widgets { margin: 0; }
.ddsched-top { gap: 4px 14px; align-items: center; flex-flow: row wrap; }
.ddsched-top > .ddsched-area-now { flex: 1 1 240px; }
.ddsched-buttons { gap: 6px; }
.ddsched-buttons .jupyter-button { width: auto; height: 24px; line-height: 22px; padding: 0 9px;
  font-size: 12px; border-radius: 3px; margin: 0; }
.ddsched-buttons .jupyter-button i { font-size: 10px; }
.ddsched .ddsched-body { gap: 6px 28px; flex-flow: row wrap; align-items: flex-start;
  margin-top: 10px; }
.ddsched-body > .ddsched-area-columns { flex: 1 1 320px; }
.ddsched-body > .ddsched-area-models { flex: 1 1 450px; }
.ddsched .jupyter-widgets.ddsched-scroll { max-height: 300px; overflow: auto; }
.ddsched-state { font-weight: 600; white-space: nowrap; }
.ddsched-state b { display: inline-block; width: 1.4em; font-weight: 400; text-align: center; }
.ddsched-is-running b { color: var(--brand); } .ddsched-is-finished b { color: var(--good); }
.ddsched-is-paused b, .ddsched-is-cancelling b, .ddsched-is-cancelled b { color: var(--warn); }
.ddsched-is-failed, .ddsched-is-stalled, .ddsched-is-timed_out { color: var(--bad); }
.ddsched-figures { color: var(--soft); font-variant-numeric: tabular-nums; }
.ddsched-figures b { color: var(--ink); font-weight: 600; }
.ddsched-figures span + span::before { content: "\\b7"; margin: 0 .45em; }
.ddsched-bar { position: relative; height: 8px; border-radius: 2px; background: var(--track);
  overflow: hidden; min-width: 60px; }
.ddsched-bar i { position: absolute; top: 0; bottom: 0; left: 0; background: var(--brand); }
.ddsched-bar i.pale { background: var(--pale); }
.ddsched-bar i.lost { left: auto; right: 0; background: repeating-linear-gradient(135deg,
  var(--bad) 0 3px, var(--jp-layout-color1, #fff) 3px 6px); }
.ddsched-bar i.mark { background: var(--ink); width: 2px; margin-left: -1px; }
.ddsched-all .ddsched-bar { margin-top: 8px; height: 10px; }
.ddsched table { border-collapse: collapse; width: 100%; margin: 0; font-size: 12px;
  font-variant-numeric: tabular-nums; color: var(--ink); table-layout: auto; }
.ddsched tr, .ddsched tbody tr:nth-child(odd) { background: none; }
.ddsched th, .ddsched td { padding: 2px 0 2px 10px; text-align: right; white-space: nowrap;
  font-weight: 400; border: 0; vertical-align: middle; color: var(--ink); max-width: none; }
.ddsched th:first-child { padding-left: 0; text-align: left; max-width: 180px; overflow: hidden;
  text-overflow: ellipsis; }
.ddsched thead th { color: var(--soft); border-bottom: 1px solid var(--line); }
.ddsched .wide { width: 38%; text-align: left; } .ddsched .slots { width: 24%; text-align: left; }
.ddsched td.soft, .ddsched .soft { color: var(--soft); }
.ddsched td.wait { color: var(--warn); font-weight: 600; }
.ddsched-groups { color: var(--soft); margin-top: 6px; font-variant-numeric: tabular-nums;
  display: flex; flex-wrap: wrap; gap: 0 12px; align-items: center; }
.ddsched-groups .ddsched-bar { display: inline-block; width: 44px; min-width: 0; height: 6px;
  margin: 0 5px; vertical-align: middle; }
.ddsched-error { margin-top: 8px; padding: 3px 8px; border-left: 3px solid var(--warn);
  white-space: pre-wrap; overflow-wrap: anywhere; }
.ddsched-error b { font-weight: 600; }
.ddsched-error.bad { border-color: var(--bad); color: var(--bad); }
.ddsched-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; }
"""
