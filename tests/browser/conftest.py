"""A real JupyterLab, on loopback, opened in headless Chromium with every other network cut off.

Skips, with a reason, where Chromium, Playwright or JupyterLab is missing. Screenshots are kept in
`DDSCHED_SCREENSHOTS`, or in pytest's temporary folder.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
CHROMIUM = os.environ.get("DDSCHED_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "apputils-extension/themes": '{"theme": "JupyterLab Light", "adaptive-theme": false}',
    # Otherwise cells out of sight are not in the page at all.
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}
KERNEL_READY = """() => {
  const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
  return kernel && kernel.status === "idle" && kernel.connectionStatus === "connected";
}"""
START_S = 60.0


def _missing() -> str | None:
    if not Path(CHROMIUM).exists():
        return f"no Chromium at {CHROMIUM}; set DDSCHED_CHROMIUM"
    absent = [name for name in ("playwright", "jupyterlab", "ipykernel") if not find_spec(name)]
    return f"not installed: {', '.join(absent)}" if absent else None


@dataclass
class Lab:
    """A running JupyterLab and the folder that it shows."""

    url: str
    token: str
    folder: Path
    kernels: Path

    def add_kernel(self, version: str, site: Path) -> str:
        """Makes a kernel known that runs another ipykernel; names it."""
        name = f"ipykernel-{version}"
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": name,
            "language": "python",
            "env": {"PYTHONPATH": os.pathsep.join([str(site), _python_path()])},
        }
        where = self.kernels / name
        where.mkdir(parents=True, exist_ok=True)
        (where / "kernel.json").write_text(json.dumps(spec))
        return name

    def address(self, notebook: str) -> str:
        return f"{self.url}/lab/tree/{notebook}?token={self.token}&reset"

    def write(self, name: str, *cells: str, kernel: str = "python3") -> None:
        import nbformat

        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        notebook.metadata["kernelspec"] = {"name": kernel, "display_name": kernel}
        nbformat.write(notebook, self.folder / name)


@dataclass
class Sheet:
    """An open notebook."""

    page: Any
    screenshots: Path
    blocked: list[str] = field(default_factory=list)

    def run_all(self) -> None:
        # Not awaited: the promise ends with the last cell, and may hold what cannot be sent here.
        self.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def run_cell(self, cell: int) -> None:
        self.page.evaluate(
            """cell => {
              window.jupyterapp.shell.currentWidget.content.activeCellIndex = cell;
              void window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            cell,
        )

    def theme(self, name: str) -> None:
        """`Light` or `Dark`."""
        self.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            f"JupyterLab {name}",
        )
        light = "true" if name == "Light" else "false"
        self.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")
        self.page.wait_for_timeout(400)

    def output(self, cell: int) -> Any:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-OutputArea")

    def shoot(self, name: str, what: Any = None) -> Path:
        path = self.screenshots / f"{name}.png"
        (what or self.page).screenshot(path=path)
        return path


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wanted = os.environ.get("DDSCHED_SCREENSHOTS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := _missing():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("lab")
    folder = home / "work"
    folder.mkdir()
    for name, text in SETTINGS.items():
        path = home / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    port, token = _free_port(), secrets.token_hex(16)
    log = (home / "lab.log").open("wb")
    server = subprocess.Popen(
        _command(port, token), cwd=folder, env=_environment(home), stdout=log, stderr=log
    )
    try:
        yield _wait_for(
            server,
            Lab(f"http://127.0.0.1:{port}", token, folder, home / "data/kernels"),
            home / "lab.log",
        )
    finally:
        server.terminate()
        server.wait(20)
        log.close()


@pytest.fixture(scope="session")
def other_kernel(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes a kernel of another version of ipykernel; skips where it cannot be had."""

    def made(version: str) -> str:
        if metadata.version("ipykernel") == version:
            return "python3"
        site = tmp_path_factory.mktemp(f"ipykernel-{version}")
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site)]
        found = subprocess.run([*command, f"ipykernel=={version}"], capture_output=True, text=True)
        if found.returncode:
            pytest.skip(f"ipykernel {version} cannot be installed: {found.stderr.strip()[-200:]}")
        return lab.add_kernel(version, site)

    return made


# Per module: while it is open, a loop runs in this thread, which is in the way of other tests.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if reason := _missing():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_notebook(lab: Lab, chromium: Any, screenshots: Path) -> Iterator[Callable[..., Sheet]]:
    """Opens a notebook of the given cells; nothing but loopback can be reached from its page."""
    contexts = []

    def opened(name: str, *cells: str, kernel: str = "python3") -> Sheet:
        context = chromium.new_context(viewport={"width": 1200, "height": 900})
        contexts.append(context)
        sheet = Sheet(context.new_page(), screenshots)

        def gate(route: Any) -> None:
            if urlsplit(route.request.url).hostname in LOOPBACK:
                route.continue_()
            else:
                sheet.blocked.append(route.request.url)
                route.abort()

        context.route(lambda url: not url.startswith(("data:", "blob:")), gate)
        lab.write(name, *cells, kernel=kernel)
        sheet.page.goto(lab.address(name))
        sheet.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        sheet.page.wait_for_function(KERNEL_READY, timeout=60_000)
        return sheet

    yield opened
    for context in contexts:
        context.close()


def _command(port: int, token: str) -> list[str]:
    return [
        sys.executable,
        *("-m", "jupyterlab", "--allow-root", "--expose-app-in-browser", "--no-browser"),
        f"--ServerApp.port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        "--LabApp.news_url=None",
    ]


def _environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
    folders = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
    }
    return {
        **kept,
        **{k: str(folder) for k, folder in folders.items()},
        "PYTHONPATH": _python_path(),
    }


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], lab: Lab, log: Path) -> Lab:
    end = time.monotonic() + START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end and server.poll() is None:
        try:
            opener.open(f"{lab.url}/api/status?token={lab.token}", timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return lab
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
