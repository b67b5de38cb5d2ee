"""Starts JupyterLab by the command given, and checks that it serves the start notebook.

python .ci/check_lab.py .venv/bin/ddsched-nb lab
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit, urlunsplit

NOTEBOOK = "notebooks/00_start_here.ipynb"
# How JupyterLab logs its address.
ADDRESS = re.compile(rf"https?://127\.0\.0\.1:\d+/lab/tree/{re.escape(NOTEBOOK)}\?token=\w+")
TIMEOUT_S = 120.0
TRIES = 100


def main(command: Sequence[str]) -> int:
    """Returns 0 if the notebook was served, 1 with the log if not."""
    options = ["--", "--no-browser", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1"]
    lab = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watchdog = threading.Timer(TIMEOUT_S, lab.kill)
    watchdog.start()
    try:
        said: list[str] = []
        address = _address(lab.stdout or (), said)
        if address is None:
            print("JupyterLab did not say where it is:", *said, sep="\n", file=sys.stderr)
            return 1
        _check(address)
    finally:
        watchdog.cancel()
        lab.terminate()
        lab.wait(30)
    print(f"JupyterLab serves {NOTEBOOK}")
    return 0


def _address(lines: Iterable[str], said: list[str]) -> str | None:
    for line in lines:
        said.append(line.rstrip())
        if found := ADDRESS.search(line):
            return found[0]
    return None


def _check(address: str) -> None:
    """Opens the page, and asks for the notebook that the page will ask for."""
    parts = urlsplit(address)
    content = urlunsplit(parts._replace(path=f"/api/contents/{NOTEBOOK}"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for url in (address, content):
        _open(opener, url)


def _open(opener: urllib.request.OpenerDirector, url: str) -> None:
    # JupyterLab says where it is a moment before it listens there.
    for _ in range(TRIES):
        try:
            opener.open(url, timeout=30).close()
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"nothing listens where JupyterLab said it does: {urlsplit(url).netloc}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
