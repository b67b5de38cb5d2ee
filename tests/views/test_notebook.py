"""What a real kernel gets, and that strict nbval finds it equal a second time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbval")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
CELLS = [
    """
from ddsched_nb.aio.statistics import ColumnProgress, RunStatistics
from ddsched_nb.aio.bus import EventBus
from ddsched_nb.columns import Column
from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.record import RunRecord
class StillRun:
    done, events, record = True, EventBus(), RunRecord()
    settings, pipeline = RunConfig(), Pipeline(columns=[Column("n", generate=list)])
    def statistics(self):
        column = ColumnProgress("topic", "writer", 40, 40, 0)
        return RunStatistics("finished", 40, 40, 0, 1, 1, (), (column,), (), 0, 1.0, 1.0, None)
    def _repr_mimebundle_(self, include=None, exclude=None):
        from ddsched_nb.views.live import mimebundle
        return mimebundle(self)
run = StillRun()
""",
    "run",
    "run",
    """
from ddsched_nb.core import events as ev
from ddsched_nb.core.model import PoolKey
from ddsched_nb.views.charts import limit_over_time, row_progress
pool = PoolKey("local", "writer")
events = [ev.RequestLeaseAcquired(i / 8, i, pool, i, i, i % 4, 4 + i % 5) for i in range(60)]
events.append(ev.RowGroupCheckpointed(8.0, 1, 0, 39, 1))
""",
    "limit_over_time(events)",
    "row_progress(events)",
]


def executed(folder: Path) -> Path:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    NotebookClient(notebook, timeout=120, record_timing=False, kernel_name="python3").execute()
    path = folder / "views.ipynb"
    nbformat.write(notebook, path)
    return path


def outputs(path: Path, cell: int) -> Any:
    import nbformat

    (output,) = nbformat.read(path, as_version=4).cells[cell].outputs
    return output["data"]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        return executed(tmp_path_factory.mktemp("notebook"))


def test_a_run_displayed_twice_in_a_kernel_is_one_widget(notebook: Path) -> None:
    first, second = outputs(notebook, 1), outputs(notebook, 2)
    assert first["text/plain"] == "Run finished: 40 of 40 rows, 0 dropped\ncolumns: topic (writer)"
    assert "application/vnd.jupyter.widget-view+json" in first
    assert first["text/plain"] == second["text/plain"]


def test_charts_are_given_in_three_forms_in_a_kernel(notebook: Path) -> None:
    for cell in (4, 5):
        assert set(outputs(notebook, cell)) == {
            "application/vnd.vegalite.v5+json",
            "image/svg+xml",
            "text/plain",
        }


def strictly(path: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider"]
    command += ["-c", "/dev/null", "--rootdir", str(path.parent), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_strict_nbval_compares_views_and_sees_a_changed_datum(
    notebook: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    same = strictly(notebook, monkeypatch)
    assert same.returncode == 0, same.stdout
    changed = tmp_path / "changed.ipynb"
    changed.write_text(notebook.read_text().replace('"limit": 7', '"limit": 9', 1))
    assert changed.read_text() != notebook.read_text()
    other = strictly(changed, monkeypatch)
    assert other.returncode == 1
    assert "vegalite.v5+json" in other.stdout
