"""`manage.py send_bulk`: a file is sent once, however often it is stopped and run, and what was refused is told."""

import csv
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from messaging import bulk_files
from messaging.bulk import send_bulk
from messaging.models import Message, MessageBatch
from routing.models import AuditEntry
from tests.factories import Clinic, make_clinic, make_contact, make_location, new_phone
from tests.messaging.test_worker_processes import database_url, wait_until


@pytest.fixture
def parts_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small files have several parts."""
    monkeypatch.setattr(bulk_files, "MAX_RECIPIENTS", 10)


def write(path: Path, rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = ("to",)) -> Path:
    """The CSV file."""
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])
    return path


def run(file: Path, clinic: Clinic, **options: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    out, err = io.StringIO(), io.StringIO()
    options = {"location": str(clinic.location.pk), "text": "hello"} | options
    try:
        call_command("send_bulk", str(file), stdout=out, stderr=err, **options)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_everybody_in_the_file_gets_it(tmp_path: Path, clinic: Clinic, parts_of_ten: None) -> None:
    numbers = [new_phone() for _ in range(25)]
    code, out, err = run(write(tmp_path / "list.csv", [(number,) for number in numbers]), clinic, label="Flu shots")
    assert (code, out) == (0, "25 accepted, 0 refused.\n")
    assert "[############..................] 10 of 25 rows, 0 refused" in err
    assert "25 of 25 rows" in err
    assert list(Message.objects.order_by("position").values_list("contact_number", flat=True)) == numbers
    assert [batch.recipient_count for batch in MessageBatch.objects.order_by("created_at")] == [10, 10, 5]
    assert {batch.label for batch in MessageBatch.objects.all()} == {"Flu shots"}
    assert {entry.actor for entry in AuditEntry.objects.filter(object_type="messaging.messagebatch")} == {
        "iMessage Hub"
    }


def test_a_row_may_have_a_text_of_its_own(tmp_path: Path, clinic: Clinic) -> None:
    rows = [(new_phone(), "dear you"), (new_phone(), ""), (str(clinic.contact.pk), "line\nbreak; here")]
    file = write(tmp_path / "list.csv", rows, ("Phone_Number", "Text"))
    assert run(file, clinic, text="for all", account=1)[0] == 0
    texts = list(Message.objects.order_by("position").values_list("text", flat=True))
    assert texts == ["dear you", "for all", "line\nbreak; here"]
    assert set(Message.objects.values_list("override_index", flat=True)) == {1}


def test_what_is_refused_is_told_with_its_row_and_a_report_that_no_spreadsheet_runs(
    tmp_path: Path, clinic: Clinic, parts_of_ten: None
) -> None:
    out = make_contact(clinic.location, opted_out=True)
    good = [new_phone() for _ in range(12)]
    rows = [(number,) for number in good] + [("",), (out.phone_number,), ("=cmd()",), (good[0],)]
    # An empty line counts as a row, and is none.
    file = write(tmp_path / "list.csv", rows)
    report = tmp_path / "refused.csv"
    code, said, _ = run(file, clinic, report=report)
    assert (code, said) == (3, "12 accepted, 3 refused.\n")
    with report.open(newline="") as written:
        told = list(csv.reader(written))
    assert told[0] == ["row", "to", "code", "detail"]
    assert [row[:3] for row in told[1:]] == [
        ["15", f"'{out.phone_number}", "contact_opted_out"],
        ["16", "'=cmd()", "invalid_phone"],
        # Although its first message was in an earlier part.
        ["17", f"'{good[0]}", "duplicate_recipient"],
    ]


def test_a_second_run_sends_nothing_and_tells_the_same(tmp_path: Path, clinic: Clinic, parts_of_ten: None) -> None:
    numbers = [new_phone() for _ in range(14)]
    file = write(tmp_path / "list.csv", [(number,) for number in [*numbers, numbers[2], "12"]])
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert run(file, clinic, report=first)[0] == 3
    code, out, _ = run(file, clinic, report=second, text="other words")
    assert code == 3
    assert out.startswith("16 rows were sent by an earlier run of this file, and not again.")
    assert out.endswith("14 accepted, 2 refused.\n")
    assert second.read_text() == first.read_text()
    assert Message.objects.count() == 14
    # On purpose, under another label; and another location's list is another one.
    assert run(file, clinic, label="Again")[0] == 3
    assert Message.objects.count() == 28


def test_a_dry_run_tells_all_and_sends_nothing(tmp_path: Path, clinic: Clinic, parts_of_ten: None) -> None:
    numbers = [new_phone() for _ in range(12)]
    file = write(tmp_path / "list.csv", [(number,) for number in [*numbers, numbers[0]]])
    code, out, _ = run(file, clinic, dry_run=True)
    assert (code, out) == (3, "12 would be accepted, 1 would be refused.\n")
    assert not Message.objects.exists()
    assert not MessageBatch.objects.exists()
    assert run(file, clinic)[1] == "12 accepted, 1 refused.\n"


def test_it_goes_on_after_it_broke_off(
    tmp_path: Path, clinic: Clinic, parts_of_ten: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [new_phone() for _ in range(30)]
    file = write(tmp_path / "list.csv", [(number,) for number in numbers])
    real, calls = send_bulk, []

    def twice(**given: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(**given)

    monkeypatch.setattr(bulk_files, "send_bulk", twice)
    code, _, err = run(file, clinic)
    assert code == 130
    assert "Stopped after 20 rows. Run the same command again" in err
    assert Message.objects.count() == 20
    code, out, _ = run(file, clinic)
    assert (code, out.splitlines()[-1]) == (0, "30 accepted, 0 refused.")
    assert list(Message.objects.order_by("position").values_list("contact_number", flat=True)) == numbers


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"", {}, "The first row names the columns"),
        (b"name\nPat\n", {}, "The first row names the columns"),
        (b"to,phone_number\n1,2\n", {}, "The first row names the columns"),
        (b"to\n\n", {}, "no recipient"),
        (b"to\n\xff\n", {}, "UTF-8"),
        (b'to\n"+1', {}, "quotation marks"),
        (b"to\n+1\0\n", {}, "NUL"),
        (b"to\n+15557654321\n", {"text": ""}, "Say what to send"),
        (b"to\n+15557654321\n", {"location": "nowhere"}, "no location"),
        (b"to\n+15557654321\n", {"location": "Twice"}, "Several locations"),
        (b"to\n+15557654321\n", {"label": "x" * 101}, "at most 100"),
        (b"to\n+15557654321\n", {"report": Path("/no/such/place.csv")}, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_sent(
    tmp_path: Path, clinic: Clinic, content: bytes, options: dict[str, Any], words: str
) -> None:
    make_location("Twice")
    make_location("Twice")
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(CommandError, match=words):
        run(tmp_path / "list.csv", clinic, **options)
    assert not Message.objects.exists()


def test_a_file_that_is_not_there(tmp_path: Path, clinic: Clinic) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        run(tmp_path / "absent.csv", clinic)


def test_columns_that_mean_nothing_are_named(tmp_path: Path, clinic: Clinic) -> None:
    file = write(tmp_path / "list.csv", [("Pat", new_phone())], ("Name", "To"))
    code, _, err = run(file, clinic, location=clinic.location.name)
    assert code == 0
    assert "Not used: name." in err


@pytest.mark.postgres
def test_two_runs_at_once_send_each_part_once(
    tmp_path: Path, parts_of_ten: None, in_threads: Callable[..., list[Any]]
) -> None:
    clinic = make_clinic()
    numbers = [new_phone() for _ in range(60)]
    file = write(tmp_path / "list.csv", [(number,) for number in numbers])
    results = in_threads(4, lambda _: run(file, clinic))
    assert {(code, out.splitlines()[-1]) for code, out, _ in results} == {(0, "60 accepted, 0 refused.")}
    assert sorted(Message.objects.values_list("contact_number", flat=True)) == sorted(numbers)


@pytest.mark.postgres
def test_a_process_that_is_killed_in_the_middle_is_gone_on_with(tmp_path: Path, transactional_db: None) -> None:
    clinic = make_clinic()
    numbers = [f"+1555{n}" for n in range(6_000_000, 6_040_000)]
    file = write(tmp_path / "list.csv", [(number,) for number in numbers])
    command = [
        sys.executable,
        "manage.py",
        "send_bulk",
        str(file),
        "--location",
        str(clinic.location.pk),
        "--text",
        "hi",
    ]
    environment = os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    first = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stderr=subprocess.DEVNULL)
    wait_until(MessageBatch.objects.exists)
    first.send_signal(signal.SIGKILL)
    first.wait(30)
    sent = Message.objects.count()
    assert 0 < sent < len(numbers), "it was killed too late to show anything"
    assert sent % 10_000 == 0
    second = subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment, capture_output=True, timeout=120, check=True
    )
    assert b"rows were sent by an earlier run of this file" in second.stdout
    assert b"40,000 accepted, 0 refused." in second.stdout
    assert list(Message.objects.order_by("position").values_list("contact_number", flat=True)) == numbers
