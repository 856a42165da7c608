"""A PostgreSQL of the benchmark's own, and in it a fresh database for each group; all is gone afterwards.

It waits for the disk, as a server does. Statements are counted by pg_stat_statements; where a group asks for it they
are logged as well, with their values.
"""

import csv
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import psycopg
from cryptography.fernet import Fernet
from psycopg import sql

HERE = Path(__file__).resolve().parent.parent
OPTIONS = (
    "-c fsync=on -c max_wal_size=4GB -c shared_preload_libraries=pg_stat_statements"
    " -c logging_collector=on -c log_destination=csvlog -c log_directory=log -c log_filename=server"
    " -c log_rotation_age=0 -c log_rotation_size=0"
)
EMPTY = "hub_empty"
"""Migrated once, and copied for each group."""


@dataclass(frozen=True)
class Statement:
    """A statement as the server took it; `values` in PostgreSQL's text format, None where they stand in the text."""

    text: str
    values: tuple[str | None, ...] | None


@dataclass(frozen=True)
class Cluster:
    """The server: `folder` is the run's own, for logs of processes too; `url` is that of its database "postgres"."""

    folder: Path
    url: str
    postmaster: int

    def url_of(self, name: str) -> str:
        """The address of one of its databases."""
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    @contextmanager
    def fresh(self, name: str, *, like: str = EMPTY) -> Iterator[str]:
        """A database of that name, a copy of `like`, which Django uses from here on; gone after the block."""
        from django.db import connection, connections

        connections.close_all()
        self.command("CREATE DATABASE {} TEMPLATE {}", name, like)
        connection.settings_dict["NAME"] = name
        try:
            yield name
        finally:
            connections.close_all()
            self.command("DROP DATABASE {} WITH (FORCE)", name)

    def use(self, name: str) -> None:
        """Have Django use another of the databases that are there."""
        from django.db import connection, connections

        connections.close_all()
        connection.settings_dict["NAME"] = name

    def ask(self, statement: str, *values: Any) -> Any:
        """The first column of the first row, asked from outside of any of the groups' databases."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(statement.encode(), values).fetchone()
        return row[0] if row else None

    def log_statements(self, name: str) -> None:
        """Log each statement of connections that are made to the database from here on."""
        self.command("ALTER DATABASE {} SET log_statement = 'all'", name)

    def log_size(self) -> int:
        """Where the log ends now."""
        return self._log().stat().st_size

    def logged(self, name: str, *, since: int) -> list[Statement]:
        """The statements of the database in the log from a place on, in the order they came."""
        with self._log().open(newline="") as log:
            log.seek(since)
            return [
                statement
                for row in csv.reader(log)
                if row[2] == name and (statement := read_statement(row[13], row[14])) is not None
            ]

    def _log(self) -> Path:
        return self.folder / "data" / "log" / "server.csv"

    def command(self, template: str, *names: str) -> None:
        """Run a statement whose braces are names, outside of any transaction."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(template).format(*map(sql.Identifier, names)))


@contextmanager
def own_cluster() -> Iterator[Cluster]:
    """Django, ready, and a server with an empty migrated database. None of Django's models may be imported before."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        script = str(HERE / ".ci" / "postgres")
        started = subprocess.run(  # noqa: S603  (ours)
            [script, "start", place],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"POSTGRES_OPTIONS": OPTIONS},
        )
        try:
            url = started.stdout.strip().splitlines()[-1]
            postmaster = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
            cluster = Cluster(folder, url, postmaster)
            _prepare(cluster)
            yield cluster
        finally:
            subprocess.run([script, "stop", place], check=False)  # noqa: S603  (ours)


def _prepare(cluster: Cluster) -> None:
    cluster.command("CREATE DATABASE {}", EMPTY)
    cluster.command("CREATE EXTENSION {}", "pg_stat_statements")
    os.environ |= {
        "DATABASE_URL": cluster.url_of(EMPTY),
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        # Nobody is asked but the benchmark's own provider, whatever the surroundings say.
        "SENDBLUE_BASE_URL": "http://127.0.0.1:9",
        "SENDBLUE_AGENCY_KEY_ID": "bench",
        "SENDBLUE_AGENCY_SECRET": "bench",
        "SENDBLUE_CONTACT_EMAIL": "bench@example.com",
        "SECRET_KEY": "only-for-a-benchmark-" + "x" * 50,
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    }
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)  # the floors' tables, which refer to the hub's


def read_statement(message: str, detail: str) -> Statement | None:
    """The statement of a line of the log; None for a line that tells of something else."""
    kind, _, text = message.partition(": ")
    if kind == "statement":
        return Statement(text, None)
    if kind.startswith("execute "):
        return Statement(text, tuple(_values(detail)))
    return None


def _values(detail: str) -> Iterator[str | None]:
    """What a log line tells of its parameters: `parameters: $1 = 'it''s', $2 = NULL`."""
    rest = detail.partition(": ")[2]
    while rest:
        rest = rest.partition(" = ")[2]
        if rest.startswith("NULL"):
            yield None
            rest = rest[4:].removeprefix(", ")
            continue
        end = 1
        while rest[end] != "'" or rest[end : end + 2] == "''":
            end += 2 if rest[end] == "'" else 1
        yield rest[1:end].replace("''", "'")
        rest = rest[end + 1 :].removeprefix(", ")
