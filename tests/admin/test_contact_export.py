"""Contacts into a file: what the list shows, of one's own locations, and nothing that a spreadsheet would work out."""

import csv
import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from routing import services
from routing.contact_files import guarded, unguarded
from routing.models import AuditEntry, Contact, Role
from tests.admin.world import World, sign_in, url
from tests.factories import make_contact, make_location, make_member

EXPORT = "admin:routing_contact_export"


@pytest.fixture
def client(ours: World) -> Client:
    """An admin of the location."""
    return sign_in(ours.admin)


def export(client: Client, kind: str = "csv", query: str = "") -> Any:
    return client.post(f"{reverse(EXPORT)}{query}", {"format": kind})


def content_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def rows_of(answer: Any) -> list[dict[str, str]]:
    """The rows of a CSV answer, as they stand in the file."""
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(content_of(answer).decode("utf-8-sig"))))


def test_what_is_exported(client: Client, ours: World, theirs: World) -> None:
    answer = export(client)
    assert answer["Content-Type"].startswith("text/csv")
    assert "attachment" in answer["Content-Disposition"]
    [row] = rows_of(answer)
    assert row == {
        "phone_number": "'" + ours.contact.phone_number,
        "name": "Patient ours",
        "tags": "vip ours",
        "assigned_user": ours.agent.username,
        "opted_out": "no",
    }
    [entry] = AuditEntry.objects.filter(detail__startswith="Exported")
    assert (entry.detail, entry.user, entry.location) == ("Exported 1 contacts as CSV.", ours.admin, ours.location)


def test_search_and_filters_are_kept(client: Client, ours: World) -> None:
    make_contact(ours.location, name="Zoe", opted_out=True)
    page = client.get(url("contact"), {"q": "Zoe", "opted_out": "yes"}).content.decode()
    assert f'action="{reverse(EXPORT)}?q=Zoe&amp;opted_out=yes"' in page
    for query in ("?q=Zoe", "?opted_out=yes"):
        assert [row["name"] for row in rows_of(export(client, query=query))] == ["Zoe"]


def test_only_locations_where_one_is_admin_are_exported(ours: World, theirs: World) -> None:
    second = make_location("Second")
    make_contact(second, name="Not ours to take")
    make_member(second, Role.AGENT, user=ours.admin)
    client = sign_in(ours.admin)
    assert [row["name"] for row in rows_of(export(client))] == ["Patient ours"]
    assert rows_of(export(client, query=f"?location__id__exact={theirs.location.pk}")) == []
    assert AuditEntry.objects.filter(detail__startswith="Exported").count() == 1


@pytest.mark.parametrize("role", ["agent", "viewer"])
def test_who_is_no_admin_exports_nothing(ours: World, role: str) -> None:
    client = sign_in(getattr(ours, role))
    assert export(client).status_code == 403
    assert reverse(EXPORT) not in client.get(url("contact")).content.decode()


def test_an_export_is_asked_for_by_post_alone(client: Client, ours: World) -> None:
    assert client.get(reverse(EXPORT)).status_code == 404
    assert export(client, "xls").status_code == 404
    assert export(client, query="?tags__id__exact=odd").status_code in (400, 404)
    assert export(client, query="?location__name__startswith=C").status_code == 400
    assert Client(enforce_csrf_checks=True).post(reverse(EXPORT), {"format": "csv"}).status_code in (302, 403)


EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''+1", "'plain", '=HYPERLINK("http://x")']


@pytest.mark.parametrize("text", [*EVIL, "", "'", "Pat", "O'Neil", "+15551234567"])
def test_the_guard_is_taken_off_as_it_was_put_on(text: str) -> None:
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_nothing_in_the_file_is_a_formula_and_all_of_it_comes_back(
    client: Client, ours: World, kind: str, tmp_path: Path, settings: LazySettings
) -> None:
    settings.HUB_IMPORT_ROOT = str(tmp_path / "imports")
    for name in EVIL:
        make_contact(ours.location, name=name.strip(), tags=(name.strip(), "a, b"))
    content = content_of(export(client, kind))
    if kind == "csv":
        cells = [cell for row in csv.reader(io.StringIO(content.decode("utf-8-sig"))) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    else:
        sheet = openpyxl.load_workbook(io.BytesIO(content)).active
        shown = [cell for row in sheet.iter_rows() for cell in row if cell.value is not None]
        assert {cell.data_type for cell in shown} == {"s"}
        assert ours.contact.phone_number in [cell.value for cell in shown]
    data = {"location": str(ours.location.pk), "file": SimpleUploadedFile(f"contacts.{kind}", content)}
    preview = client.post(reverse("admin:routing_contact_import"), data)["Location"]
    assert client.get(preview).context["counts"] == {"new": 0, "updated": 0, "unchanged": 11, "wrong": 0}


def test_what_no_spreadsheet_holds_is_left_out(client: Client, ours: World) -> None:
    Contact.objects.filter(pk=ours.contact.pk).update(name="a\x01b")
    assert export(client, "xlsx").status_code == 200


def test_a_contact_more_costs_no_query_more(client: Client, ours: World) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            content_of(export(client))
        return len(queries)

    first = cost()
    for i in range(30):
        make_contact(ours.location, tags=(f"tag {i}",), assigned_user=ours.agent)
    assert cost() == first


def test_who_left_and_what_a_program_tagged_come_back_unchanged(
    client: Client, ours: World, tmp_path: Path, settings: LazySettings
) -> None:
    settings.HUB_IMPORT_ROOT = str(tmp_path / "imports")
    services.set_tags(contact=ours.contact, names=["im: nothing"])
    ours.membership(ours.agent).delete()
    data = {"location": str(ours.location.pk), "file": SimpleUploadedFile("c.csv", content_of(export(client)))}
    preview = client.post(reverse("admin:routing_contact_import"), data)["Location"]
    assert client.get(preview).context["counts"]["unchanged"] == 1
