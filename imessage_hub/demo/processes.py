"""The demo's processes: started together, watched, and stopped together."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import requests

STOP_WITHIN_S = 20


class Ended(Exception):
    """A process that should go on running ended by itself."""


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Processes:
    """Child processes of one environment; leaving the block stops them all, the last started first.

    Each writes its log to `<folder>/<name>.log`. Ctrl-C in a terminal, and a terminal that closes, reach this process
    alone: children are in sessions of their own, so that the worker is stopped gently and before the provider is.
    Whatever asks to stop raises KeyboardInterrupt inside the block; while it cleans up, nothing interrupts it again.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *arguments: str) -> str:
        """Run a Python command to its end and return what it printed; SystemExit with its words when it fails."""
        done = subprocess.run(  # noqa: S603
            [sys.executable, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr.strip()[-4000:]}")
        return done.stdout

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start a Python command that goes on running."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603
                [sys.executable, *arguments],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, name: str, url: str, *, within_s: float = 60) -> None:
        """Return once `url` answers 200. Raises Ended when the process ended, SystemExit when it takes too long."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self.check()
            try:
                if requests.get(url, timeout=5).status_code == 200:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise SystemExit(f"{name} did not answer at {url}; its log: {self.folder / name}.log")

    def check(self) -> None:
        """Raise Ended if a process is no longer there."""
        for name, process in self._running.items():
            if process.poll() is not None:
                tail = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
                how = f"code {process.returncode}" if process.returncode >= 0 else f"signal {-process.returncode}"
                raise Ended(f"{tail}\n{name} ended by {how}; above is the end of its log.")

    def __enter__(self) -> "Processes":
        for number in STOPPING:
            signal.signal(number, signal.default_int_handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self._running.values()):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            # A web server that was killed leaves its own children.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
