"""Where figures come from: commit, command, machine, versions. No dates: equal runs stay equal."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from ddsched_nb.bench.suite.summary import Provenance

__all__ = ["provenance"]

_CHECKOUT = Path(__file__).resolve().parents[3]
_PACKAGES = ("ddsched-nb", "aiohttp", "jinja2", "msgspec", "pydantic")


def provenance(command: str) -> Provenance:
    """What is known of this process.

    Args:
        command: What reproduces the run.
    """
    changed = _git("status", "--porcelain")
    return Provenance(
        commit=_git("rev-parse", "HEAD") or "unknown",
        dirty=None if changed is None else bool(changed),
        command=command,
        seed=0,
        machine=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processors=os.cpu_count() or 0,
        versions={"python": platform.python_version()} | _versions(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def _git(*arguments: str) -> str | None:
    """What git says of the checkout; None where there is no git, or no checkout."""
    if not (_CHECKOUT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(_CHECKOUT), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
