"""Files that name many recipients: read row by row, and sent part by part so that no part is ever sent twice."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from django.db import IntegrityError, transaction

from messaging.bulk import MAX_RECIPIENTS, Recipient, send_bulk
from messaging.models import MessageBatch
from messaging.services import NewMessage
from routing.contact_files import unguarded
from routing.models import Location

TO: Final = ("to", "phone_number")
"""What the column of recipients may be called."""
TEXT: Final = "text"


class UnreadableFile(ValueError):
    """A file that is refused as a whole; `detail` says why and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class FileRow:
    """One recipient. `number` is the row's as a spreadsheet shows it; `text` "": none of their own."""

    number: int
    to: str
    text: str


@dataclass(frozen=True)
class RecipientFile:
    """A CSV file in UTF-8 whose first row names the columns. `digest` is the SHA-256 of its bytes; `unused` are columns
    that mean nothing here."""

    path: Path
    digest: str
    row_count: int
    has_texts: bool
    unused: tuple[str, ...]

    def parts(self) -> Iterator[Sequence[FileRow]]:
        """The rows, in parts of MAX_RECIPIENTS: the same ones whenever it is read. Raises UnreadableFile."""
        part: list[FileRow] = []
        for row in _rows(self.path):
            part.append(row)
            if len(part) == MAX_RECIPIENTS:
                yield part
                part = []
        if part:
            yield part


@dataclass(frozen=True)
class PartSent:
    """What became of one part. `before`: an earlier run had sent it. `refused`: row, code, detail."""

    accepted: int
    refused: Sequence[tuple[FileRow, str, str]]
    before: bool


def open_file(path: Path) -> RecipientFile:
    """The file, once it was read through for a try. Raises UnreadableFile."""
    try:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFile(f"The file cannot be read: {error.strerror}.") from error
    names = _columns(path)
    count = sum(1 for _ in _rows(path))
    if not count:
        raise UnreadableFile("There is no recipient below the row with the names of the columns.")
    unused = tuple(name for name in names if name and name not in (*TO, TEXT))
    return RecipientFile(path, digest, count, TEXT in names, unused)


def send_part(
    *,
    location: Location,
    file: RecipientFile,
    rows: Sequence[FileRow],
    frame: NewMessage,
    label: str,
    taken: set[str],
    now: datetime,
    dry_run: bool = False,
) -> PartSent:
    """Send one part of a file as a batch, unless a batch of the location has it already: one file is sent once under
    one label, whoever runs it and how often. `taken` are the numbers that earlier parts of it went to; those of this
    part are added. `dry_run`: everything is done and then taken back.

    Raises Refused as `send_bulk` does.
    """
    origin = _origin(file, label, rows[0].number)
    batch = MessageBatch.objects.filter(location=location, origin=origin).first()
    if batch is None:
        recipients = [Recipient(to=row.to, text=row.text or None) for row in rows]
        try:
            with transaction.atomic():
                sent = send_bulk(
                    location=location,
                    frame=frame,
                    recipients=recipients,
                    by=None,
                    now=now,
                    label=label,
                    origin=origin,
                    taken=taken,
                )
                taken |= _numbers(sent.batch)
                if dry_run:
                    transaction.set_rollback(True)
            refused = [(rows[refusal.index], refusal.code, refusal.detail) for refusal in sent.refusals]
            return PartSent(sent.batch.accepted_count, refused, before=False)
        except IntegrityError:
            # Another run of the same file was faster.
            batch = MessageBatch.objects.filter(location=location, origin=origin).first()
            if batch is None:
                raise
    taken |= _numbers(batch)
    told = [(rows[refusal.index], refusal.code, refusal.detail) for refusal in batch.refusals.all()]
    return PartSent(batch.accepted_count, told, before=True)


def _numbers(batch: MessageBatch) -> set[str]:
    return set(batch.messages.values_list("contact_number", flat=True))


def _origin(file: RecipientFile, label: str, first_row: int) -> str:
    return hashlib.sha256(f"{file.digest}\n{label}\n{first_row}".encode()).hexdigest()


# --- reading ----------------------------------------------------------------------------------------------------------
def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            mark = max(",;\t", key=text.readline().count)
            text.seek(0)
            # Rows are counted as a spreadsheet does: one with line breaks in a cell is one row, an empty one counts.
            for number, cells in enumerate(csv.reader(text, delimiter=mark, strict=True), 1):
                yield number, cells
    except OSError as error:
        raise UnreadableFile(f"The file cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UnreadableFile("The file is not in UTF-8; save it as “CSV UTF-8”.") from error
    except csv.Error as error:
        raise UnreadableFile(f"Row {number + 1} is no proper CSV: look at its quotation marks.") from error


def _columns(path: Path) -> list[str]:
    _, cells = next(_lines(path), (0, []))
    names = [cell.strip().lower() for cell in cells]
    if sum(name in TO for name in names) != 1 or names.count(TEXT) > 1:
        raise UnreadableFile(
            "The first row names the columns: one of them is “to”, with phone numbers or ids of contacts; “text” may be"
            " another, with what each gets."
        )
    return names


def _rows(path: Path) -> Iterator[FileRow]:
    names = _columns(path)
    place_of_to = next(place for place, name in enumerate(names) if name in TO)
    place_of_text = names.index(TEXT) if TEXT in names else None
    lines = _lines(path)
    next(lines, None)
    for number, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if any("\0" in cell for cell in cells):
            raise UnreadableFile(f"Row {number} holds a NUL character; take it out.")
        text = cells[place_of_text] if place_of_text is not None and place_of_text < len(cells) else ""
        to = cells[place_of_to] if place_of_to < len(cells) else ""
        yield FileRow(number, unguarded(to.strip()), unguarded(text))
