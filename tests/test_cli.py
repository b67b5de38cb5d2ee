from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from ddsched_nb import cli
from ddsched_nb.clients.profile import DEFAULT_PROFILES


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in cli.COMMANDS:
        with pytest.raises(SystemExit) as caught:
            cli.main([command.name, "--help"])
        assert caught.value.code == 0
        assert f"ddsched-nb {command.name}" in capsys.readouterr().out.partition("examples:")[2]


def test_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def serve(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "ddsched_nb.cli", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_serves_until_it_is_stopped(stop: signal.Signals) -> None:
    arguments = ("--model", "a", "--capacity", "3", "--latency", "0", "--model", "b")
    with serve(*arguments) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(4)]
        base_url = said[0].split()[1]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{base_url}/models", timeout=10) as response:
            assert [model["id"] for model in json.load(response)["data"]] == ["a", "b"]
        process.send_signal(stop)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert said[1:3] == ["  a: capacity 3\n", "  b: capacity 32\n"]


def profiles(*arguments: str) -> list[dict[str, object]]:
    parsed = cli._parser().parse_args(["serve", *arguments])
    return [profile.model_dump() for profile in cli._profiles(parsed)]


def test_options_describe_the_model_before_them() -> None:
    a, b = profiles(
        *("--model", "a", "--capacity", "3", "--step", "4:1", "--step", "9.5:3"),
        *("--model", "b", "--latency", "0.5", "--sigma", "0.6", "--retry-after", "2"),
    )
    assert (a["model"], a["capacity"], a["steps"]) == ("a", 3, ((4.0, 1), (9.5, 3)))
    assert (b["model"], b["capacity"], b["retry_after_s"]) == ("b", 32, 2.0)
    assert isinstance(b["latency"], dict)
    assert (b["latency"]["mean_s"], b["latency"]["sigma"]) == (0.5, 0.6)


def test_models_from_a_file_or_by_default(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.json"
    path.write_text('[{"model": "c"}]')
    assert [profile["model"] for profile in profiles("--profiles", str(path))] == ["c"]
    assert len(profiles()) == len(DEFAULT_PROFILES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "not a loopback address"),
        (["--model", "a", "--capacity", "0"], "capacity=0"),
        (["--model", "a", "--sigma=-1"], "sigma=-1"),
        (["--profiles", "nowhere.json"], "nowhere.json"),
        (["--profiles", "x.json", "--model", "a"], "not both"),
        (["--port", "70000"], "port=70000"),
    ],
)
def test_what_the_user_can_mend(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ddsched-nb: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--capacity", "3"], "belongs after the --model"),
        (["--model", "a", "--step", "4"], "SECONDS:CAPACITY"),
        (["--model", "a", "--capacity", "many"], "invalid int value"),
    ],
)
def test_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", *arguments])
    assert said in capsys.readouterr().err


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / cli.START_NOTEBOOK).write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("user", "as_root"), [(0, ["--allow-root"]), (1000, [])])
def test_lab_opens_the_start_notebook(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, user: int, as_root: list[str]
) -> None:
    pytest.importorskip("jupyterlab")
    monkeypatch.setattr(os, "geteuid", lambda: user, raising=False)

    class Became(BaseException):
        """In place of the exec, from which there is no return."""

    def execv(path: str, arguments: list[str]) -> None:
        raise Became(path, arguments)

    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(Became) as caught:
        cli.main(["lab", "--", "--no-browser", "--port", "8889"])
    path, arguments = caught.value.args
    assert path == arguments[0] == sys.executable
    assert arguments[1:] == [
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={checkout}",
        "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb",
        *as_root,
        "--no-browser",
        "--port",
        "8889",
    ]


def test_lab_without_jupyterlab(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["lab"]) == 2
    assert "pip install 'ddsched-nb[lab]'" in capsys.readouterr().err


def test_lab_without_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "site-packages" / "ddsched_nb" / "cli.py"))
    assert cli.main(["lab"]) == 2
    assert "change into the checkout" in capsys.readouterr().err
