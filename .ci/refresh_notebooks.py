"""Executes the notebooks in place, so that what they store is what they do now.

    .venv/bin/python .ci/refresh_notebooks.py            # all of them
    .venv/bin/python .ci/refresh_notebooks.py notebooks/00_start_here.ipynb

Nothing is stored that differs from run to run: no timestamps, no Python version, no ids of
widgets. A notebook that fails is left as it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
# Shows a widget by an id that no other kernel knows; its text stays.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# What JupyterLab and extensions add beside these is about a session.
KEPT_IN_CELLS = {"tags", "jupyter"}
CELL_TIMEOUT_S = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if every notebook ran, 1 if one failed."""
    parser = argparse.ArgumentParser(description="Execute the notebooks in place.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all in notebooks/ by default")
    paths = parser.parse_args(arguments).notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    failed = [path for path in paths if not refresh(path)]
    return 1 if failed else 0


def refresh(path: Path) -> bool:
    """Executes one notebook and stores its outputs; says whether it ran to its end."""
    before = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(before, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name=KERNEL["name"],
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"{path.name}: failed\n{error}", file=sys.stderr)
        return False
    after = nbformat.writes(steady(notebook)) + "\n"
    path.write_text(after, encoding="utf-8")
    print(f"{path.name}: {'unchanged' if after == before else 'refreshed'}")
    return True


def steady(notebook: Any) -> Any:
    """Takes out of a notebook what differs from run to run."""
    notebook.metadata.clear()
    notebook.metadata.update(kernelspec=KERNEL, language_info=LANGUAGE)
    for cell in notebook.cells:
        for key in set(cell.metadata) - KEPT_IN_CELLS:
            del cell.metadata[key]
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    return notebook


if __name__ == "__main__":
    sys.exit(main())
