"""Files of contacts, CSV and XLSX: read without trusting them, written so that no cell is ever a formula."""

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from xml.etree.ElementTree import ParseError
from xml.parsers import expat

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.utils.exceptions import InvalidFileException

COLUMNS: Final = ("phone_number", "name", "tags", "assigned_user", "opted_out")
MAX_BYTES: Final = 5 * 1024 * 1024
MAX_ROWS: Final = 20_000
MAX_COLUMNS: Final = 50
MAX_UNPACKED: Final = 40 * 1024 * 1024
"""Bytes that an XLSX, which is a ZIP, may unpack to."""
MAX_ELEMENTS: Final = 1_000_000
"""XML elements in an XLSX, a few for each cell; each becomes an object once it is read."""
MAX_ELEMENTS_OF_ROW: Final = 2_000
MAX_CELL: Final = 5000

FORMULA: Final = "\0formula"
"""Stands for a cell that holds a formula instead of a value."""

_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_ZIP: Final = b"PK\x03\x04"


class UnreadableFile(ValueError):
    """A file that is refused as a whole; `detail` says why and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True)
class Sheet:
    """What stands in a file: its known columns, and each row that is not empty with its number as a spreadsheet shows
    it. `notes` say what a person should know: columns that are not used, an encoding that was guessed."""

    columns: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]
    notes: tuple[str, ...] = ()


def read(content: bytes) -> Sheet:
    """The rows of a CSV or XLSX file, told apart by what it holds. Raises UnreadableFile."""
    if len(content) > MAX_BYTES:
        raise UnreadableFile(f"The file has more than {MAX_BYTES // 1024 // 1024} MB; split it.")
    if content.startswith(_ZIP):
        return _sheet(_xlsx_rows(content), ())
    text, notes = _decoded(content)
    return _sheet(_csv_rows(text), notes)


def _sheet(lines: Iterator[tuple[int, list[str]]], notes: tuple[str, ...]) -> Sheet:
    _, header = next(((number, cells) for number, cells in lines if any(map(str.strip, cells))), (0, []))
    if not header:
        raise UnreadableFile("The file is empty. Its first row names the columns: " + ", ".join(COLUMNS) + ".")
    if len(header) > MAX_COLUMNS:
        raise UnreadableFile(f"The file has more than {MAX_COLUMNS} columns; leave out what is not needed.")
    names = ["_".join(cell.strip().lower().replace("-", " ").split()) for cell in header]
    known = [name for name in names if name in COLUMNS]
    if "phone_number" not in known:
        raise UnreadableFile(
            f"There is no column “phone_number”. The first row must name the columns: {', '.join(COLUMNS)};"
            " all but phone_number may be left out."
        )
    if len(set(known)) < len(known):
        raise UnreadableFile("A column stands there twice; leave one of them out.")
    unused = len([name for name in names if name and name not in COLUMNS])
    if unused:
        notes = (*notes, f"{unused} column(s) are not used: only {', '.join(COLUMNS)} are.")
    rows: list[tuple[int, dict[str, str]]] = []
    for number, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if len(rows) == MAX_ROWS:
            raise UnreadableFile(f"The file has more than {MAX_ROWS:,} rows; split it.")
        padded = [*cells[: len(names)], *[""] * (len(names) - len(cells))]
        rows.append((number, {name: unguarded(padded[i]) for i, name in enumerate(names) if name in COLUMNS}))
    if not rows:
        raise UnreadableFile("There is no contact below the row with the names of the columns.")
    return Sheet(tuple(known), rows, notes)


# --- CSV --------------------------------------------------------------------------------------------------------------
def _decoded(content: bytes) -> tuple[str, tuple[str, ...]]:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return content.decode("utf-16"), ()
        except UnicodeDecodeError as error:
            raise UnreadableFile("The file's text cannot be read; save it as CSV in UTF-8.") from error
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        pass
    if b"\0" in content:
        raise UnreadableFile("This is neither a CSV nor an XLSX file; save the sheet as one of them.")
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text, ("The file is not in UTF-8 and was read as Latin-1: look at letters with accents.",)


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    mark = max(",;\t", key=first.count)
    # Rows are counted as a spreadsheet does: one with line breaks in a cell is one row, an empty one counts.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UnreadableFile(f"Row {number} is no proper CSV: look at its quotation marks.") from error
        if cells is None:
            return
        yield number, [cell[: MAX_CELL + 1] for cell in cells]


# --- XLSX -------------------------------------------------------------------------------------------------------------
def _xlsx_rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    broken = UnreadableFile("The XLSX file is damaged or has a password; save it again, or as CSV.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED:
                raise UnreadableFile("The XLSX file unpacks to too much; save the sheet as CSV.")
            _count_elements(archive)
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, keep_links=False)
        sheet: Any = next(iter(book.worksheets), None)
        if sheet is None:
            raise UnreadableFile("The XLSX file has no sheet.")
        sheet.reset_dimensions()  # what the file says of its own size is no more than a claim
        last = 2 * MAX_ROWS
        for number, row in enumerate(sheet.iter_rows(max_row=last + 1, max_col=MAX_COLUMNS), 1):
            if number > last:
                raise UnreadableFile(f"The file has more than {MAX_ROWS:,} rows; split it.")
            yield number, [_text_of(cell) for cell in row]
    except (
        zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, TypeError, OSError, EOFError,
        AttributeError, IndexError, NotImplementedError, RuntimeError, MemoryError, expat.ExpatError, zlib.error,
    ) as error:  # fmt: skip
        if isinstance(error, UnreadableFile):
            raise
        raise broken from error


def _count_elements(archive: zipfile.ZipFile) -> None:
    """Raises UnreadableFile for more XML than a list of contacts needs, before it is made into objects."""
    total = of_row = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal total, of_row
        total += 1
        of_row = 0 if name.rpartition(":")[2] == "row" else of_row + 1
        if total > MAX_ELEMENTS or (in_sheet and of_row > MAX_ELEMENTS_OF_ROW):
            raise UnreadableFile("The XLSX file holds far more cells than contacts; save the sheet as CSV.")

    def refuse(*declaration: Any) -> None:
        raise UnreadableFile("The XLSX file holds declarations that no spreadsheet writes; save it again.")

    for part in archive.infolist():
        if not part.filename.endswith((".xml", ".rels")):
            continue
        in_sheet, of_row = "/worksheets/" in part.filename, 0
        parser = expat.ParserCreate()
        parser.StartElementHandler = start
        parser.StartDoctypeDeclHandler = refuse
        with archive.open(part) as stream:
            parser.ParseFile(stream)


def _text_of(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f":
        return FORMULA
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)[: MAX_CELL + 1]


# --- writing ----------------------------------------------------------------------------------------------------------
def guarded(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would take it for a formula.

    `unguarded` takes that apostrophe away again, so that numbers, which begin with +, survive the way out and in.
    """
    return f"'{text}" if text.lstrip("'").startswith(_DANGEROUS) else text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_DANGEROUS) else text


def write_csv(rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a CSV file in UTF-8, its byte order mark and the names of the columns first, one after the other."""
    line = io.StringIO()
    writer = csv.writer(line)
    yield "\ufeff"
    for row in _with_header(rows):
        writer.writerow([guarded(cell) for cell in row])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _with_header(rows: Iterable[Iterable[str]]) -> Iterator[Iterable[str]]:
    yield COLUMNS
    yield from rows


def write_xlsx(rows: Iterable[Iterable[str]]) -> bytes:
    """An XLSX file. Every cell is declared a text, so none is ever worked out; only an apostrophe at the start is
    doubled as in CSV."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Contacts")
    for row in _with_header(rows):
        sheet.append([_text_cell(sheet, cell) for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _text_cell(sheet: Any, text: str) -> Any:
    text = ILLEGAL_CHARACTERS_RE.sub("", guarded(text) if text.startswith("'") else text)
    cell = WriteOnlyCell(sheet, value=text)
    cell.data_type = "s"
    cell.number_format = "@"
    return cell
