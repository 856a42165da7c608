"""`manage.py send_bulk`: one message to everybody in a file."""

import csv
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from messaging.bulk_files import PartSent, RecipientFile, UnreadableFile, open_file, send_part
from messaging.services import NewMessage
from routing.contact_files import guarded
from routing.errors import Refused
from routing.models import Location
from routing.tenancy_api import read_id

SOME_REFUSED = 3
INTERRUPTED = 130
MAX_LABEL = 100


class Command(BaseCommand):
    """Sends, part by part, and says what was refused."""

    help = (
        "Sends a message to everybody in a CSV file (UTF-8). Its first row names the columns: “to”, with phone numbers"
        " or ids of contacts, and, if you like, “text”, with what each gets. Every 10,000 rows become a batch, which"
        " the admin shows. A file is sent once under one label: run the same command again after it was stopped, and it"
        " goes on where it was; nobody gets it twice. Ends with 0 when everything was accepted, with 3 when rows were"
        " refused and the others accepted, with 1 when it could not be done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("file", type=Path, help="the CSV file")
        parser.add_argument("--location", required=True, help="whose message it is: the location's name or id")
        parser.add_argument("--text", default="", help="what everybody gets who has no text of their own in the file")
        parser.add_argument("--account", type=int, metavar="N", help="the account to send from, by index, as {IM#N}")
        parser.add_argument(
            "--label",
            default="",
            help="what people call it (no names, no numbers); another label sends the same file again, on purpose",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, and send nothing")
        parser.add_argument("--report", type=Path, metavar="CSV", help="write the rows that were refused to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Send."""
        try:
            file = open_file(options["file"])
        except UnreadableFile as error:
            raise CommandError(error.detail) from error
        location = _location(options["location"])
        if not options["text"] and not file.has_texts:
            raise CommandError("Say what to send: --text, or a column “text” in the file.")
        if len(options["label"]) > MAX_LABEL:
            raise CommandError(f"A label has at most {MAX_LABEL} characters.")
        if file.unused:
            self.stderr.write(f"Not used: {', '.join(file.unused)}.")
        frame = NewMessage(to="", text=options["text"], account=options["account"])
        with ExitStack() as open_files:
            report = None
            if options["report"] is not None:
                try:
                    out = open_files.enter_context(options["report"].open("w", encoding="utf-8", newline=""))
                except OSError as error:
                    raise CommandError(f"The report cannot be written: {error.strerror}.") from error
                report = csv.writer(out)
                report.writerow(["row", "to", "code", "detail"])
            refused = self._send(file, location, frame, options, report)
        if refused:
            sys.exit(SOME_REFUSED)

    def _send(
        self, file: RecipientFile, location: Location, frame: NewMessage, options: dict[str, Any], report: Any
    ) -> int:
        """How many rows were refused."""
        done = accepted = refused = before = 0
        taken: set[str] = set()
        parts = file.parts()
        try:
            for rows in parts:
                part = send_part(
                    location=location,
                    file=file,
                    rows=rows,
                    frame=frame,
                    label=options["label"],
                    taken=taken,
                    now=timezone.now(),
                    dry_run=options["dry_run"],
                )
                done += len(rows)
                accepted += part.accepted
                refused += len(part.refused)
                before += len(rows) if part.before else 0
                _write(report, part)
                self._show(done, file.row_count, refused)
        except (Refused, UnreadableFile) as error:
            raise CommandError(error.detail) from error
        except KeyboardInterrupt:
            self.stderr.write(f"\nStopped after {done:,} rows. Run the same command again: it goes on there.")
            sys.exit(INTERRUPTED)
        if self._is_terminal():
            self.stderr.write("")
        if before:
            self.stdout.write(
                f"{before:,} rows were sent by an earlier run of this file, and not again. To send them again on"
                " purpose, give another --label."
            )
        would = "would be " if options["dry_run"] else ""
        self.stdout.write(f"{accepted:,} {would}accepted, {refused:,} {would}refused.")
        return refused

    def _is_terminal(self) -> bool:
        return bool(getattr(self.stderr, "isatty", bool)())

    def _show(self, done: int, total: int, refused: int) -> None:
        """How far it is: one line that moves, or a line for each part where nobody looks on."""
        filled = 30 * done // total
        bar = f"[{'#' * filled}{'.' * (30 - filled)}] {done:,} of {total:,} rows, {refused:,} refused"
        if self._is_terminal():
            self.stderr.write(f"\r{bar}", ending="")
            self.stderr.flush()
        else:
            self.stderr.write(bar)


def _write(report: Any, part: PartSent) -> None:
    if report is not None:
        for row, code, detail in part.refused:
            report.writerow([row.number, guarded(row.to), code, guarded(detail)])


def _location(given: str) -> Location:
    wanted = read_id(given)
    found = list(Location.objects.filter(**({"pk": wanted} if wanted else {"name": given}))[:2])
    if not found:
        raise CommandError(f"There is no location “{given}”.")
    if len(found) > 1:
        raise CommandError(f"Several locations are called “{given}”; give the id of the one that is meant.")
    return found[0]
