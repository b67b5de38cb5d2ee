"""The embedded endpoint in a process of its own, as benchmarks ask it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ddsched_nb.clients.load import EndpointStatistics, ModelStatistics
from ddsched_nb.clients.profile import EndpointProfile

__all__ = ["counts", "reset", "served"]


@contextlib.contextmanager
def served(profiles: Iterable[EndpointProfile]) -> Iterator[str]:
    """Serves models; gives the base URL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profiles.json"
        path.write_text(json.dumps([json.loads(p.model_dump_json()) for p in profiles]))
        command = ["-m", "ddsched_nb.cli", "serve", "--profiles", str(path), "--port", "0"]
        with subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().split()[-1]
            finally:
                process.terminate()  # or leaving the block would wait for it for ever


def counts(base_url: str) -> EndpointStatistics:
    """What the endpoint went through since its start or reset."""
    with urllib.request.urlopen(f"{base_url.removesuffix('/v1')}/stats", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    models = {name: ModelStatistics(**model) for name, model in found["models"].items()}
    return EndpointStatistics(found["span_s"], models)


def reset(base_url: str) -> None:
    """Makes it forget what it went through."""
    address = f"{base_url.removesuffix('/v1')}/reset"
    with urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=10):
        pass
