"""Contacts from a file: a look at what would change, row by row, before the word to do it."""

import io
import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.conf import LazySettings
from django.core import signing
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from messaging.consent import apply as hear
from messaging.delivery.duties import housekeeping
from routing import contact_staging, services
from routing.contact_files import UnreadableFile, read
from routing.models import AuditEntry, ConsentChange, ConsentSource, Contact, Location, Role, Tag, User
from tests.admin.world import World, sign_in
from tests.factories import make_account, make_contact, make_location, make_member, new_phone

IMPORT = "admin:routing_contact_import"
HEAD = "phone_number,name,tags,assigned_user,opted_out"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, settings: LazySettings) -> Path:
    """Where uploads wait."""
    settings.HUB_IMPORT_ROOT = str(tmp_path / "imports")
    return tmp_path / "imports"


@pytest.fixture
def client(ours: World) -> Client:
    """An admin of the location."""
    return sign_in(ours.admin)


def csv_file(*lines: str, head: str = HEAD) -> bytes:
    return "\r\n".join((head, *lines)).encode()


def xlsx_file(*rows: list[object]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def upload(client: Client, location: Location, content: bytes, name: str = "contacts.csv") -> Any:
    """Choose a file; the page that answers."""
    data = {"location": str(location.pk), "file": SimpleUploadedFile(name, content)}
    return client.post(reverse(IMPORT), data)


def staged(client: Client, location: Location, content: bytes) -> str:
    """Upload; where the preview is."""
    answer = upload(client, location, content)
    assert answer.status_code == 302, refusal(answer)
    return str(answer["Location"])


def refusal(answer: Any) -> str:
    """What the form said."""
    return " ".join(re.findall(r'<ul class="errorlist"[^>]*>(.*?)</ul>', answer.content.decode(), re.DOTALL))


def counts(answer: Any) -> dict[str, int]:
    """The figures of a preview or a report."""
    found: dict[str, int] = answer.context["counts"]
    return found


def wrong(answer: Any) -> dict[int, dict[str, str]]:
    """Row → column → what to do."""
    return {line.number: line.wrong for line in answer.context["page"] if line.kind == "wrong"}


def test_a_file_is_looked_at_and_then_imported(client: Client, ours: World) -> None:
    number = ours.account.phone_number
    content = csv_file(
        f'(415) 555-2671,New One,"vip ours, im: {number}",{ours.agent.username},no',
        f"{ours.contact.phone_number},Renamed,,,yes",
        "+14155552672,,,,",
    )
    preview = staged(client, ours.location, content)
    page = client.get(preview)
    assert counts(page) == {"new": 2, "updated": 1, "unchanged": 0, "wrong": 0}
    changed = client.get(preview, {"show": "updated"}).content.decode()
    assert "Patient ours" in changed.split("<del>")[1]
    assert "Renamed" in changed
    assert Contact.objects.count() == 1  # so far nothing was written
    report = client.post(preview, {"rows": "all"})
    assert report.status_code == 200
    assert "Imported into Clinic ours: 2 new, 1 changed, 0 unchanged." in report.content.decode()
    new = Contact.objects.get(phone_number="+14155552671")
    assert (new.name, new.assigned_user, new.opted_out) == ("New One", ours.agent, False)
    assert set(new.tags.values_list("name", flat=True)) == {"vip ours", f"im: {number}"}
    old = Contact.objects.get(pk=ours.contact.pk)
    assert (old.name, old.assigned_user, old.opted_out) == ("Renamed", ours.agent, True)
    assert list(old.tags.values_list("name", flat=True)) == ["vip ours"]
    [change] = ConsentChange.objects.filter(contact=old)
    assert (change.source, change.user, change.opted_out) == (ConsentSource.IMPORT, ours.admin, True)
    [entry] = AuditEntry.objects.filter(detail__startswith="Imported")
    assert entry.detail == "Imported contacts: 2 new, 1 changed, 0 unchanged, 0 left out."
    assert entry.user == ours.admin


def test_two_bad_rows_are_told_and_the_good_ones_go_only_if_asked_for(client: Client, ours: World) -> None:
    content = csv_file(
        "+14155552671,Good One,,,",
        "12345,Bad Number,,,",
        "+14155552672,Bad User,,nobody.known,",
        "+14155552673,Good Two,,,",
    )
    preview = staged(client, ours.location, content)
    page = client.get(preview)
    assert counts(page) == {"new": 2, "updated": 0, "unchanged": 0, "wrong": 2}
    told = wrong(page)
    assert set(told) == {3, 4}
    assert "too few" in told[3]["phone_number"]
    assert f"Its members: {ours.admin.username}, {ours.agent.username}" in told[4]["assigned_user"]
    assert "Import the 2 good rows, leave out 2" in page.content.decode()
    # Without that word nothing is written, and the file is still there to be asked again.
    answer = client.post(preview, {"rows": "all"}, follow=True)
    assert "nothing was imported" in answer.content.decode()
    assert Contact.objects.count() == 1
    report = client.post(preview, {"rows": "good"})
    assert set(wrong(report)) == {3, 4}
    assert set(Contact.objects.exclude(pk=ours.contact.pk).values_list("name", flat=True)) == {"Good One", "Good Two"}
    assert "2 left out" in AuditEntry.objects.get(detail__startswith="Imported").detail


@pytest.mark.parametrize(
    ("cells", "column", "words"),
    [
        (",No Number,,,", "phone_number", "every row needs one"),
        ("+1 900 555 0100,,,,", "phone_number", "Premium-rate"),
        ("+14155552671,,im: nothing,,", "tags", "holds no phone number"),
        (f"+14155552671,,{'x' * 101},,", "tags", "1 to 100 characters"),
        ('+14155552671,,"""a"" b",,', "tags", "Put commas"),
        (f"+14155552671,{'x' * 201},,,", "name", "at most 200"),
        ("+14155552671,a\0b,,,", "name", "type it anew"),
        ("+14155552671,,,,perhaps", "opted_out", "yes or no"),
        ("+14155552671,,,operator,", "assigned_user", "No member"),
    ],
    ids=lambda one: str(one)[:24],
)
def test_each_wrong_cell_says_what_to_do(
    client: Client, ours: World, theirs: World, operator: User, cells: str, column: str, words: str
) -> None:
    page = client.get(staged(client, ours.location, csv_file(cells)))
    assert words in wrong(page)[2][column]
    assert "CANARY" not in page.content.decode()


def test_a_number_twice_in_the_file_is_wrong_the_second_time(client: Client, ours: World) -> None:
    page = client.get(staged(client, ours.location, csv_file("+14155552671,A,,,", "", "(415) 555-2671,B,,,")))
    assert counts(page)["new"] == 1
    assert "Row 2 has the same number" in wrong(page)[4]["phone_number"]


def test_numbers_are_read_in_the_locations_region(client: Client, ours: World) -> None:
    Location.objects.filter(pk=ours.location.pk).update(region="GB")
    client.post(staged(client, ours.location, csv_file("020 7946 0018", head="Phone Number")), {"rows": "all"})
    assert Contact.objects.filter(location=ours.location, phone_number="+442079460018").exists()


def test_a_number_tag_that_matches_nothing_is_warned_of(client: Client, ours: World) -> None:
    page = client.get(staged(client, ours.location, csv_file("+14155552671,,im: 4155550000,,")))
    assert "chooses nothing now" in page.content.decode()
    assert ours.account.phone_number in page.content.decode()
    assert counts(page)["new"] == 1


# --- consent ----------------------------------------------------------------------------------------------------------
def test_a_file_opts_nobody_in_who_opted_out_by_their_own_message(client: Client, ours: World) -> None:
    by_person = make_contact(ours.location)
    services.set_opt_out(contact=by_person, opted_out=True, source=ConsentSource.PERSON, by=ours.agent)
    unknown = make_contact(ours.location, opted_out=True)
    ConsentChange.objects.filter(contact=unknown).delete()
    hear(contact=ours.contact, account=ours.account, text="STOP", said_at=None, now=ours.contact.created_at)
    lines = [f"{one.phone_number},,,,no" for one in (ours.contact, by_person, unknown)]
    preview = staged(client, ours.location, csv_file(*lines))
    told = wrong(client.get(preview))
    assert "by their own message" in told[2]["opted_out"]
    assert set(told) == {2, 4}
    client.post(preview, {"rows": "good"})
    assert Contact.objects.get(pk=ours.contact.pk).opted_out
    assert Contact.objects.get(pk=unknown.pk).opted_out
    assert not Contact.objects.get(pk=by_person.pk).opted_out


def test_a_stop_counts_though_somebody_had_opted_them_out_before(client: Client, ours: World) -> None:
    contact = ours.contact
    services.set_opt_out(contact=contact, opted_out=True, source=ConsentSource.PERSON, by=ours.agent)
    for _ in range(2):
        hear(contact=contact, account=ours.account, text="STOP", said_at=None, now=contact.created_at)
    assert [one.source for one in ConsentChange.objects.all()] == [ConsentSource.MESSAGE, ConsentSource.PERSON]
    page = client.get(staged(client, ours.location, csv_file(f"{contact.phone_number},,,,no")))
    assert "by their own message" in wrong(page)[2]["opted_out"]


# --- what files there are ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "The file is empty"),
        (b"\n\n  \n", "The file is empty"),
        (b"phone_number,name\n\n", "no contact below"),
        (b"name,tags\na,b\n", "no column “phone_number”"),
        (b"phone_number,phone number\n1,2\n", "twice"),
        (b'phone_number,name\n+14155552671,"open', "quotation marks"),
        (b"PK\x03\x04 no zip at all", "damaged"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\xff\xd8", "neither a CSV nor an XLSX"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"phone_number\n" + b"+14155552671\n" * 20_001, "more than 20,000 rows"),
        (b"phone_number\n" + b"x" * (5 * 1024 * 1024), "more than 5 MB"),
    ],
    ids=lambda one: str(one)[:20],
)
def test_a_file_that_cannot_be_read_is_refused_with_what_to_do(
    client: Client, ours: World, root: Path, content: bytes, words: str
) -> None:
    answer = upload(client, ours.location, content)
    assert answer.status_code == 200
    assert words in refusal(answer)
    assert not root.exists() or not list(root.iterdir())


def test_a_body_far_too_large_is_refused_before_it_is_read(client: Client, ours: World) -> None:
    answer = upload(client, ours.location, b"x" * (6 * 1024 * 1024))
    assert answer.status_code == 302
    assert "more than 5 MB" in client.get(answer["Location"]).content.decode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_encodings_and_separators(client: Client, ours: World, encoding: str, mark: str) -> None:
    text = mark.join(["Phone number", "NAME", "shoe size"]) + "\n" + mark.join(["+14155552671", "Zoë Müller", "9"])
    preview = staged(client, ours.location, text.encode(encoding))
    page = client.get(preview).content.decode()
    assert "1 column(s) are not used" in page
    assert ("read as Latin-1" in page) is (encoding == "latin-1")
    client.post(preview, {"rows": "all"})
    assert Contact.objects.get(phone_number="+14155552671").name == "Zoë Müller"


def test_an_xlsx_is_read_and_its_formulas_are_refused(client: Client, ours: World) -> None:
    content = xlsx_file(
        ["phone_number", "name", "opted_out"],
        [14155552671, "A number as a number", False],
        ["+14155552672", '=HYPERLINK("http://evil.example","x")', None],
        [None, None, None],
        [4155552673.0, "Fifth row", True],
    )
    preview = staged(client, ours.location, content)
    page = client.get(preview)
    assert counts(page)["new"] == 2
    assert "formula" in wrong(page)[3]["name"]
    client.post(preview, {"rows": "good"})
    assert Contact.objects.get(phone_number="+14155552673").opted_out
    assert Contact.objects.get(phone_number="+14155552671").name == "A number as a number"


def test_markup_in_a_cell_stays_text(client: Client, ours: World) -> None:
    evil = "<script>alert(1)</script>"
    page = client.get(staged(client, ours.location, csv_file(f"+14155552671,{evil},,,", f"1,{evil},{evil},,")))
    for shown in (page, client.get(page.request["PATH_INFO"], {"show": "new"})):
        assert evil not in shown.content.decode()
        assert "&lt;script&gt;" in shown.content.decode()


# --- who, where, how often --------------------------------------------------------------------------------------------
def test_the_same_number_of_another_location_is_another_contact(client: Client, ours: World, theirs: World) -> None:
    preview = staged(client, ours.location, csv_file(f"{theirs.contact.phone_number},Mine,,,"))
    page = client.get(preview)
    assert counts(page)["new"] == 1
    assert "CANARY" not in page.content.decode()
    client.post(preview, {"rows": "all"})
    assert Contact.objects.get(pk=theirs.contact.pk).name == "Patient CANARY"
    assert Contact.objects.filter(phone_number=theirs.contact.phone_number).count() == 2


def test_only_locations_where_one_is_admin_can_be_chosen(client: Client, ours: World, theirs: World) -> None:
    second = make_location("Second")
    make_member(second, Role.AGENT, user=ours.admin)
    client = sign_in(ours.admin)
    page = client.get(reverse(IMPORT)).content.decode()
    assert "Second" not in page.split('name="location"')[1].split("</select>")[0]
    for forged in (theirs.location, second):
        answer = upload(client, forged, csv_file("+14155552671,,,,"))
        assert answer.status_code == 200
        assert "Select a valid choice" in refusal(answer)


@pytest.mark.parametrize("role", ["agent", "viewer"])
def test_who_is_no_admin_imports_nothing(ours: World, role: str) -> None:
    preview = staged(sign_in(ours.admin), ours.location, csv_file("+14155552671,,,,"))
    client = sign_in(getattr(ours, role))
    assert client.get(reverse(IMPORT)).status_code == 403
    assert upload(client, ours.location, csv_file("+14155552671,,,,")).status_code == 403
    assert client.get(preview).status_code == 403
    assert client.post(preview, {"rows": "all"}).status_code == 403
    assert reverse(IMPORT) not in client.get(reverse("admin:routing_contact_changelist")).content.decode()
    assert Contact.objects.count() == 1


def test_an_upload_is_its_users_alone_and_its_word_cannot_be_forged(client: Client, ours: World, theirs: World) -> None:
    preview = staged(client, ours.location, csv_file("+14155552671,,,,"))
    colleague = make_member(ours.location, Role.ADMIN)
    word = preview.rstrip("/").rsplit("/", 1)[1]
    mine = signing.dumps({"file": "../../etc/passwd", "location": str(theirs.location.pk), "user": str(ours.admin.pk)})
    for who, there in (
        (sign_in(colleague), preview),
        (sign_in(theirs.admin), preview),
        (client, preview.replace(word, word[:-1] + ("A" if word[-1] != "A" else "B"))),
        (client, preview.replace(word, mine)),
    ):
        for answer in (who.get(there), who.post(there, {"rows": "all"})):
            assert (answer.status_code, answer.headers.get("Location")) == (302, reverse(IMPORT))
    assert Contact.objects.count() == 2


def test_who_is_admin_no_more_cannot_confirm(client: Client, ours: World) -> None:
    preview = staged(client, ours.location, csv_file("+14155552671,,,,"))
    membership = ours.membership(ours.admin)
    membership.role = Role.AGENT
    membership.save()
    assert client.post(preview, {"rows": "all"}).status_code == 403
    assert Contact.objects.count() == 1


def test_the_word_to_do_it_counts_once(client: Client, ours: World, root: Path) -> None:
    preview = staged(client, ours.location, csv_file("+14155552671,First,,,"))
    assert client.post(preview, {"rows": "all"}).status_code == 200
    assert list(root.iterdir()) == []
    Contact.objects.filter(phone_number="+14155552671").update(name="Changed since")
    for answer in (client.post(preview, {"rows": "all"}, follow=True), client.get(preview, follow=True)):
        assert "This import was done already" in answer.content.decode()
    assert Contact.objects.get(phone_number="+14155552671").name == "Changed since"
    assert AuditEntry.objects.filter(detail__startswith="Imported").count() == 1


def test_a_waiting_file_is_private_and_goes_when_its_hour_is_over(client: Client, ours: World, root: Path) -> None:
    preview = staged(client, ours.location, csv_file("+14155552671,,,,"))
    [path] = root.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert root.stat().st_mode & 0o777 == 0o700
    old = time.time() - contact_staging.KEPT_FOR.total_seconds() - 1
    os.utime(path, (old, old))
    housekeeping()
    assert not path.exists()
    assert "its hour is over" in client.get(preview, follow=True).content.decode()


def test_what_changed_since_the_look_is_judged_anew(client: Client, ours: World) -> None:
    preview = staged(client, ours.location, csv_file(f"+14155552671,,,{ours.agent.username},", "+14155552672,,,,"))
    assert counts(client.get(preview))["wrong"] == 0
    ours.membership(ours.agent).delete()
    assert "wrong by now" in client.post(preview, {"rows": "all"}, follow=True).content.decode()
    assert Contact.objects.count() == 1


def test_a_failure_leaves_nothing_behind(client: Client, ours: World, monkeypatch: pytest.MonkeyPatch) -> None:
    preview = staged(client, ours.location, csv_file("+14155552671,,new word,,"))

    def fail(**_: object) -> None:
        raise RuntimeError("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr(services, "set_opt_out_of_many", fail)
        with pytest.raises(RuntimeError):
            client.post(preview, {"rows": "all"})
    assert Contact.objects.count() == 1
    assert not Tag.objects.filter(name="new word").exists()
    assert client.post(preview, {"rows": "all"}).status_code == 200


# --- how much it costs ------------------------------------------------------------------------------------------------
def many(count: int, ours: World) -> bytes:
    return csv_file(*(f'{new_phone()},Name {i},"tag {i % 20}, all",{ours.agent.username},yes' for i in range(count)))


def queries_of(client: Client, ours: World, count: int) -> tuple[int, int]:
    preview = staged(client, ours.location, many(count, ours))
    with CaptureQueriesContext(
        connection,
    ) as looked:
        assert client.get(preview).status_code == 200
    with CaptureQueriesContext(connection) as done:
        assert client.post(preview, {"rows": "all"}).status_code == 200
    return len(looked), len(done)


def test_a_row_more_costs_no_query_more(client: Client, ours: World) -> None:
    make_account(ours.location)
    # Rows are written in batches; within one, no row costs a query.
    assert queries_of(client, ours, 10) == queries_of(client, ours, 60)


def test_ten_thousand_rows_are_written(client: Client, ours: World) -> None:
    preview = staged(client, ours.location, many(10_000, ours))
    assert counts(client.get(preview))["new"] == 10_000
    report = client.post(preview, {"rows": "all"})
    assert counts(report)["new"] == 10_000
    assert Contact.objects.filter(location=ours.location, opted_out_at__isnull=False).count() == 10_000


def test_a_small_file_of_very_many_cells_is_refused_before_it_is_read() -> None:
    """A few kilobytes of ZIP would become gigabytes of cells."""
    book = io.BytesIO()
    small = io.BytesIO(xlsx_file(["phone_number"], ["1"]))
    with zipfile.ZipFile(small) as plain, zipfile.ZipFile(book, "w", zipfile.ZIP_DEFLATED) as crowded:
        for part in plain.infolist():
            content = plain.read(part)
            if part.filename.endswith("sheet1.xml"):
                content = content.replace(b"</row>", b"<c/>" * 100_000 + b"</row>", 1)
            crowded.writestr(part.filename, content)
    with pytest.raises(UnreadableFile, match="far more cells"):
        read(book.getvalue())


def test_a_very_wide_file_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="columns"):
        read(b"phone_number" + b"," * 1000 + b"\n1\n")
