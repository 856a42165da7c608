"""The hub's own processes, as a server runs them, and a provider; each logs to a file and ends with its block."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.accounting import cpu_of_session, memory_of_session
from benchmarks.database import HERE, Cluster
from benchmarks.load import Connection, get, post

HOST = "127.0.0.1"
START_WITHIN_S = 90.0
STOP_WITHIN_S = 30.0


@dataclass(frozen=True)
class Running:
    """A process that runs, the leader of a session of its own."""

    pid: int
    url: str = ""

    @property
    def cpu_s(self) -> float:
        """Processor seconds that it and its children used so far."""
        return cpu_of_session(self.pid)

    @property
    def memory(self) -> int:
        """Bytes that it and its children hold."""
        return memory_of_session(self.pid)


class ProviderControl:
    """A running provider of the benchmark's own."""

    def __init__(self, process: Running) -> None:
        self.process = process

    def set_latency(self, ms: float) -> None:
        """How long it takes to answer from now on."""
        self._ask(post("/_bench/latency", json.dumps({"ms": ms}).encode()))

    def reset(self) -> None:
        """Forget what came."""
        self._ask(post("/_bench/reset", b"{}"))

    @property
    def count(self) -> int:
        """How many messages came."""
        return int(self._ask(get("/_bench/count"))["count"])

    def arrivals(self) -> list[tuple[str, float]]:
        """Text of each message, and when its first byte came, on the monotonic clock."""
        return [(text, at) for text, at in self._ask(get("/_bench/arrivals"))["arrivals"]]

    def _ask(self, request: bytes) -> Any:
        with Connection(self.process.url) as connection:
            return json.loads(connection.exchange(request)[1])


class Processes:
    """Starts processes that work on one database of the cluster."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self._cluster = cluster
        self._database = database
        self._provider_url = "http://127.0.0.1:9"

    @contextmanager
    def provider(self) -> Iterator[ProviderControl]:
        """A provider, which the processes started inside call."""
        port = _free_port()
        url = f"http://{HOST}:{port}"
        with self._started("provider", [sys.executable, "-m", "benchmarks.provider", str(port)], url) as process:
            _wait("provider", lambda: _listens(port))
            before, self._provider_url = self._provider_url, url
            try:
                yield ProviderControl(process)
            finally:
                self._provider_url = before

    @contextmanager
    def web(self, *, threads: int = 4) -> Iterator[Running]:
        """One web process."""
        port = _free_port()
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", HOST, "--port", str(port)]
        command += ["--no-ws", "--workers", "1", "--blocking-threads", str(threads), "imessage_hub.wsgi:application"]
        with self._started("web", command, f"http://{HOST}:{port}") as process:
            _wait("web", lambda: _is_ready(process.url, port))
            yield process

    @contextmanager
    def worker(self, *, concurrency: int) -> Iterator[Running]:
        """One worker, which has reached its database."""
        name = f"worker-{time.monotonic_ns()}"
        command = [sys.executable, "manage.py", "deliver", "--concurrency", str(concurrency)]
        with self._started(name, command, "") as process:
            _wait(name, lambda: self._is_connected(name))
            yield process

    def run(self, module: str, *arguments: str) -> Any:
        """The JSON that a Python module prints which runs to its end."""
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", module, *arguments],
            env=self._environment(module),
            cwd=HERE,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def _is_connected(self, name: str) -> bool:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        return bool(self._cluster.ask(asked, name))

    def _environment(self, name: str) -> dict[str, str]:
        return os.environ | {
            "DATABASE_URL": self._cluster.url_of(self._database),
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "SENDBLUE_BASE_URL": self._provider_url,
            "PYTHONPATH": str(HERE),
            "PGAPPNAME": name,
        }

    @contextmanager
    def _started(self, name: str, command: Sequence[str], url: str) -> Iterator[Running]:
        place = self._cluster.folder / f"{name}.log"
        with place.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                command,
                env=self._environment(name),
                cwd=HERE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process.pid, url)
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended by itself:\n{place.read_text(errors='replace')[-3000:]}")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(name: str, ready: Callable[[], bool]) -> None:
    until = time.monotonic() + START_WITHIN_S
    while not ready():
        if time.monotonic() > until:
            raise RuntimeError(f"{name} did not start.")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _is_ready(url: str, port: int) -> bool:
    if not _listens(port):
        return False
    with Connection(url) as connection:
        return connection.exchange(get("/health/live"))[0] == 200
