"""RabbitMQ and Redis of the suite's own, on ports of their own, from the installed programs; killed and started again
as a test wants."""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

START_WITHIN_S = 90.0


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker(ABC):
    """One server; `url` stays the same over a restart."""

    url: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed since."""
        return self._process is not None

    @abstractmethod
    def _command(self) -> list[str]:
        """What starts it, in the foreground."""

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        """Return once it takes connections."""
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_WITHIN_S
        while not self._answers():
            log = self.folder / "output.log"
            assert self._process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]

    def _answers(self) -> bool:
        connection = Connection(self.url, connect_timeout=1, transport_options={"socket_connect_timeout": 1})
        try:
            connection.ensure_connection(max_retries=1, interval_start=0.2)
        except OperationalError:
            return False
        finally:
            connection.release()
        return True

    def kill(self) -> None:
        """Gone at once, with every connection to it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None


class Redis(Broker):
    """Redis, keeping nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]


class RabbitMQ(Broker):
    """RabbitMQ, a node that knows no other, with a name server (epmd) of its own."""

    PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._names_port, self._node_port = free_port(), free_port()
        self._names: subprocess.Popen[bytes] | None = None
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text("log.file = false\nlog.console = true\nlog.console.level = warning\n")

    def _command(self) -> list[str]:
        return [str(self.PROGRAM)]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_NODENAME": f"hub{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }

    def start(self) -> None:
        """With its name server: one that it started itself would outlive it."""
        self._names = subprocess.Popen(
            [shutil.which("epmd") or "epmd"], env=self._environment(), start_new_session=True
        )
        super().start()

    def kill(self) -> None:
        """And its name server."""
        super().kill()
        if self._names is not None:
            self._names.kill()
            self._names.wait(30)
            self._names = None


def make_broker(kind: str, folder: Path) -> Broker:
    """A broker that runs; the test is skipped where its program is missing, unless HUB_REQUIRE_BROKERS is set."""
    there = RabbitMQ.PROGRAM.exists() if kind == "rabbitmq" else shutil.which("redis-server") is not None
    if not there:
        reason = f"{kind} is not installed"
        if os.environ.get("HUB_REQUIRE_BROKERS"):
            pytest.fail(reason)
        pytest.skip(reason)
    broker: Broker = RabbitMQ(folder) if kind == "rabbitmq" else Redis(folder)
    try:
        broker.start()
    except BaseException:
        broker.kill()
        raise
    return broker
