"""What README shows is true: its example runs as it stands, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
LINKS = sorted(set(re.findall(r"\]\(([^)#:]+)\)", README)))
NAMES = sorted(set(re.findall(r"`((?:aio|core|clients|config|store)\.[\w.]+[A-Z]\w+)`", README)))
COMMAND = re.compile(r"^<!-- command: (\w+) -->\n```sh\n(.+)\n```$", re.MULTILINE)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "finished: 100 of 100 rows finished, 0 dropped\n"),
        (1, "finished: 50 of 50 rows finished, 0 dropped\n"),
        (2, README.partition("```text\n")[2].partition("```")[0]),
        (3, "1\n"),
        (4, "True TransportStatistics(requests=1, retries=0, passed=0)\n"),
        (5, "<tight, seed 0: finished, 512 of 512 rows in 26.79 s; "),
    ],
)
def test_an_example_runs_as_it_stands(tmp_path: Path, number: int, said: str) -> None:
    assert len(EXAMPLES) == 6
    script = tmp_path / "example.py"
    script.write_text(EXAMPLES[number], encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert run.stdout.startswith(said)


@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_ours_exists(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(f"ddsched_nb.{module}"), attribute)


def test_the_two_commands_are_marked_and_stand_on_one_line_each() -> None:
    commands = dict(COMMAND.findall(README))
    assert list(commands) == ["lab", "tests"]
    assert commands["lab"].endswith(" && .venv/bin/ddsched-nb lab")
    assert " && .venv/bin/python -m pytest" in commands["tests"]
    assert all("-c requirements.lock" in command for command in commands.values())


def test_every_notebook_is_listed() -> None:
    listed = {Path(link).name for link in LINKS if link.endswith(".ipynb")}
    assert listed == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
