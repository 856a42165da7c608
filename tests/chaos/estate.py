"""Everything that runs: PostgreSQL, the sandbox provider, the web server, the workers, each a process of its own."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import django
from cryptography.fernet import Fernet

from imessage_hub.demo.environment import HOST, free_port
from imessage_hub.demo.processes import Processes
from tests.chaos.plan import WORKERS

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = str(ROOT / ".ci" / "postgres")
LEASE_S, DEADLINE_S, GRACE_S = 9.0, 1.5, 15.0
HANG_S = 3.0
"""Longer than the deadline: such an answer is never waited for to its end."""
ANSWER_DELAY_S = 0.15


def environment(folder: Path, database_url: str, *, doorbell: str) -> dict[str, str]:
    """What all of the hub's processes run with; nothing of a developer's own settings."""
    agency = {"KEY_ID": "chaos-agency", "SECRET": secrets.token_urlsafe(24)}
    web, sandbox = (f"http://{HOST}:{free_port(0)}" for _ in range(2))
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "imessage_hub.settings",
        "HUB_ENV_FILE": "",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "DATABASE_URL": database_url,
        "HUB_DOORBELL": doorbell,
        "HUB_PUBLIC_URL": web,
        "HUB_HTTPS": "0",
        "HUB_MEDIA_ROOT": str(folder / "media"),
        "HUB_PROVIDER": "sendblue",
        "SENDBLUE_BASE_URL": sandbox,
        "SENDBLUE_AGENCY_KEY_ID": agency["KEY_ID"],
        "SENDBLUE_AGENCY_SECRET": agency["SECRET"],
        "SANDBOX_AGENCY_KEY_ID": agency["KEY_ID"],
        "SANDBOX_AGENCY_SECRET": agency["SECRET"],
        "SENDBLUE_CONTACT_EMAIL": "setups@example.com",
        "HUB_LEASE_S": str(LEASE_S),
        "HUB_CALL_DEADLINE_S": str(DEADLINE_S),
        "HUB_UNCERTAIN_GRACE_S": str(GRACE_S),
        "HUB_POLL_INTERVAL_S": "0.2",
        "HUB_LOG_FORMAT": "console",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass
class Estate:
    """What one run has of its own."""

    folder: Path
    environment: dict[str, str]
    is_kept: bool = False
    """Whether the folder, with the logs, stays."""


@contextlib.contextmanager
def own_estate(*, doorbell: str) -> Iterator[Estate]:
    """A folder, a PostgreSQL and an environment, and Django set up in it, once a process."""
    folder = Path(tempfile.mkdtemp(prefix="hub-chaos-"))
    folder.chmod(0o755)
    postgres = Postgres(folder / "postgres")
    estate = None
    try:
        estate = Estate(folder, environment(folder, postgres.start(), doorbell=doorbell))
        os.environ.update(estate.environment)
        os.environ["PGAPPNAME"] = "harness"
        django.setup()
        yield estate
    finally:
        postgres.stop()
        if estate is None or not estate.is_kept:
            shutil.rmtree(folder, ignore_errors=True)


def say(words: str) -> None:
    """A line on how it goes, at once."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


@dataclass
class Postgres:
    """A PostgreSQL of this run's own, that can go away and come back."""

    folder: Path

    def start(self) -> str:
        """Its DATABASE_URL."""
        done = subprocess.run([POSTGRES, "start", str(self.folder)], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip().splitlines()[-1]

    def down(self, *, crash: bool) -> None:
        """End it, well or not."""
        subprocess.run([POSTGRES, "down", str(self.folder), "immediate" if crash else "fast"], check=True)

    def up(self) -> None:
        """Have it back, on the same port."""
        for left in range(20, -1, -1):
            if subprocess.run([POSTGRES, "up", str(self.folder)], check=not left).returncode == 0:
                return
            time.sleep(0.5)

    def stop(self) -> None:
        """For good."""
        subprocess.run([POSTGRES, "stop", str(self.folder)], check=False, stderr=subprocess.DEVNULL)


def start_provider(processes: Processes, folder: Path) -> None:
    """The sandbox, quick with its callbacks, and a while with its answers."""
    url = processes.environment["SENDBLUE_BASE_URL"]
    options = ["--port", url.rpartition(":")[2], "--store", str(folder / "sandbox.sqlite3")]
    delays = ["--delivery-delay", "0.1", "--answer-delay", str(ANSWER_DELAY_S)]
    processes.start("sandbox", ["-m", "provisioning.sandbox", *options, *delays])
    processes.wait_for("sandbox", f"{url}/_sandbox/health")


def start_web(processes: Processes) -> None:
    """One web process, as in production."""
    url = processes.environment["HUB_PUBLIC_URL"]
    where = ["--interface", "wsgi", "--host", HOST, "--port", url.rpartition(":")[2], "--no-ws"]
    processes.environment = {**processes.environment, "PGAPPNAME": "web"}
    processes.start("web", ["-m", "granian", *where, "--blocking-threads", "4", "imessage_hub.wsgi:application"])
    processes.wait_for("web", f"{url}/health/ready")


@dataclass
class Crew:
    """The workers. Each time one is started it has a new name, which its database connections bear."""

    environment: Mapping[str, str]
    folder: Path
    command: Sequence[str]
    names: list[str] = field(default_factory=lambda: [""] * WORKERS)
    frozen: set[int] = field(default_factory=set)
    killed_at: dict[str, float] = field(default_factory=dict)
    frozen_from: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    ended_by_themselves: list[str] = field(default_factory=list)
    _running: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _starts: int = 0

    def start(self, place: int) -> None:
        """A fresh worker in this place."""
        self._starts += 1
        name = self.names[place] = f"worker{place + 1}.{self._starts}"
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running[place] = subprocess.Popen(
                [sys.executable, *self.command],
                env={**self.environment, "PGAPPNAME": name},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )

    def look_after(self) -> None:
        """Start anew who ended, as a service manager does; who did so without a reason is noted. While the database is
        there."""
        for place, process in list(self._running.items()):
            if process.poll() is not None:
                name = self.names[place]
                output = (self.folder / f"{name}.log").read_text(errors="replace")
                if "The database cannot be used yet" not in output:
                    self.ended_by_themselves.append(f"{name}, code {process.returncode}: {output[-500:]}")
                self.start(place)

    def kill(self, place: int) -> None:
        """SIGKILL, and a new one in its place."""
        process = self._running[place]
        process.kill()
        process.wait()
        self.killed_at[self.names[place]] = time.time()
        self.start(place)

    def freeze(self, place: int) -> None:
        """SIGSTOP."""
        self.frozen.add(place)
        self._running[place].send_signal(signal.SIGSTOP)
        self.frozen_from.setdefault(self.names[place], []).append((time.time(), float("inf")))

    def thaw(self, place: int) -> None:
        """SIGCONT."""
        since, _ = self.frozen_from[self.names[place]].pop()
        self.frozen_from[self.names[place]].append((since, time.time()))
        self._running[place].send_signal(signal.SIGCONT)
        self.frozen.discard(place)

    def stop(self) -> None:
        """End them all, gently where they can."""
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 10
        for process in self._running.values():
            try:
                process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
