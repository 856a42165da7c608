"""`manage.py deliver`: the worker."""

import signal
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from messaging.delivery.drain import drain
from messaging.delivery.worker import Worker
from messaging.models import Message
from provisioning.checks import ensure_keys_open_secrets


class Command(BaseCommand):
    """Runs one worker until it is told to stop."""

    help = (
        "Sends what is due, applies what providers told, looks after lines and media. Run as many as you like, on as "
        "many machines as you like. SIGTERM or Ctrl-C: finishes what is in flight, gives back the rest, ends."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument(
            "--concurrency",
            type=int,
            default=16,
            metavar="N",
            help="how many messages are at providers at once (1 to 512; default 16)",
        )
        parser.add_argument("--once", action="store_true", help="do what is due now, one after the other, and end")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        concurrency = options["concurrency"]
        if not 1 <= concurrency <= 512:
            raise CommandError("--concurrency must be from 1 to 512.")
        try:
            Message.objects.exists()
        except DatabaseError as error:
            raise CommandError("The database cannot be used yet. Is it reached, and was `migrate` run?") from error
        ensure_keys_open_secrets()
        if options["once"]:
            self.stdout.write(f"{drain()} done")
            return
        worker = Worker(concurrency=concurrency)

        def stop(signum: int, frame: FrameType | None) -> None:
            worker.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        worker.run()
