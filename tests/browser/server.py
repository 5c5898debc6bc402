"""A real server of the app in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0


class Server:
    """``streamlit run app.py`` on a free port of the loopback, with a store of its own.

    Args:
        store: Folder of its results.
        log: File that its output is appended to.
    """

    def __init__(self, store: Path, log: Path) -> None:
        self.store, self.log = store, log
        self.port = _free_port()
        environment = os.environ | {"BITLENS_CACHE": str(store), "OMP_WAIT_POLICY": "PASSIVE"}
        for name in ("BITLENS_DATA", "BITLENS_STUDIES"):
            environment.pop(name, None)
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port"]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, str(self.port)],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_healthy()

    def url(self, page: str = "", **query: str) -> str:
        """Return the link to a page."""
        link = f"http://127.0.0.1:{self.port}/{page}"
        return f"{link}?{urlencode(query)}" if query else link

    def said(self) -> str:
        """Return what the server has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def terminate(self, timeout: float) -> float:
        """Ask the process to end as an operator would; return how many seconds that took.

        Raises:
            subprocess.TimeoutExpired: If it has not ended after ``timeout`` seconds.
        """
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout)
        return time.monotonic() - begin

    def kill(self) -> None:
        """End whatever is left of the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended while it started:\n{self.said()}")
            try:
                with urlopen(self.url("_stcore/health"), timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (URLError, OSError):
                time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"the server was not healthy in {START_SECONDS:g} s:\n{self.said()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
