"""A PostgreSQL of the benchmark's own, migrated and empty; it and its data are gone afterwards."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent.parent


@contextmanager
def own_database() -> Iterator[None]:
    """Django, ready, on a fresh database. Nothing of Django's models may be imported before."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        Path(folder).chmod(0o755)
        script = str(HERE / ".ci" / "postgres")
        started = subprocess.run([script, "start", folder], check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603  (ours)
        try:
            os.environ["DATABASE_URL"] = started.stdout.strip().splitlines()[-1]
            # The suite's: secrets for nothing, and no `.env` of the developer's.
            os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
            django.setup()
            from django.core.management import call_command
            from django.db import connections

            call_command("migrate", verbosity=0)
            yield
            connections.close_all()
        finally:
            subprocess.run([script, "stop", folder], check=False)  # noqa: S603  (ours)
