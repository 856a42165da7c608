"""Pictures that people attach: checked by content, gone with their message, fetched by the provider and nobody else."""

from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from django.conf import LazySettings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.utils import timezone

from messaging import services, uploads
from messaging.models import Attachment, Direction, DispatchState, Message
from messaging.services import NewMessage
from messaging.uploads import MAX_PICTURE_BYTES, StoredPicture, store_picture
from routing.errors import Refused
from tests.factories import Clinic
from tests.messaging.conftest import Hub

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
GOOD = [
    (PNG, "image/png", "png"),
    (b"\xff\xd8\xff\xe0" + b"\0" * 40, "image/jpeg", "jpg"),
    (b"GIF89a" + b"\0" * 40, "image/gif", "gif"),
    (b"RIFF\x10\0\0\0WEBPVP8 " + b"\0" * 40, "image/webp", "webp"),
    (b"\0\0\0\x18ftypheic" + b"\0" * 40, "image/heic", "heic"),
]
BAD = [b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>", b"\0\0\0\x18ftypqt  ", b"PNG"]


@pytest.fixture(autouse=True)
def files(settings: LazySettings, tmp_path: Path) -> Path:
    """Where the files lie, in this test alone."""
    place = tmp_path / "media"
    options = {"location": str(place), "base_url": None}
    default = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "default": default}
    settings.HUB_PUBLIC_URL = "https://hub.example"
    return place


def kept(place: Path) -> list[Path]:
    """The files that are there."""
    return [one for one in place.rglob("*") if one.is_file()]


def picture(content: bytes = PNG, name: str = "a.png") -> StoredPicture:
    """An uploaded picture."""
    return store_picture(SimpleUploadedFile(name, content))


def send(clinic: Clinic, **fields: Any) -> Message:
    """A stored message of the clinic with a picture."""
    wanted = NewMessage(**{"to": clinic.contact.phone_number, "pictures": (picture(),)} | fields)
    return services.send(location=clinic.location, wanted=wanted, now=timezone.now())


def address(message: Message) -> str:
    """The path at which the provider fetches the message's picture."""
    return message.attachments.get().url.removeprefix("https://hub.example")


@pytest.mark.parametrize(("content", "content_type", "ending"), GOOD)
@pytest.mark.parametrize("name", ["x.html", "photo"])
def test_the_type_of_a_picture_is_read_from_its_content(
    content: bytes, content_type: str, ending: str, name: str
) -> None:
    taken = picture(content, name)
    assert (taken.content_type, taken.name, taken.content) == (content_type, f"picture.{ending}", content)


@pytest.mark.parametrize("content", BAD)
def test_what_is_no_picture_is_refused_whatever_it_is_called(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        picture(content, "cat.png")
    assert refused.value.code == "picture_type"


def test_an_empty_and_a_large_picture_are_refused() -> None:
    with pytest.raises(Refused) as empty:
        picture(b"")
    assert empty.value.code == "picture_empty"
    assert picture(PNG.ljust(MAX_PICTURE_BYTES, b"\0")).content_type == "image/png"
    with pytest.raises(Refused) as large:
        picture(PNG.ljust(MAX_PICTURE_BYTES + 1, b"\0"))
    assert large.value.code == "picture_too_large"


def test_a_picture_is_kept_with_its_message_at_an_address_of_its_own(clinic: Clinic, files: Path) -> None:
    first, second = send(clinic), send(clinic, text="look")
    row = first.attachments.get()
    assert (row.content_type, row.size) == ("image/png", len(PNG))
    assert [file.read_bytes() for file in kept(files)] == [PNG, PNG]
    assert row.public_key is not None
    assert len(row.public_key) >= 43
    assert row.url == f"https://hub.example/files/{row.public_key}/picture.png"
    assert row.due_at is None
    assert row.public_key != second.attachments.get().public_key


def test_a_message_carries_one_file_of_either_kind(clinic: Clinic, files: Path) -> None:
    for fields in ({"media_urls": ("https://cdn.example/a.png",)}, {"pictures": (picture(), picture())}):
        with pytest.raises(Refused) as refused:
            send(clinic, **fields)
        assert refused.value.code == "too_many_media"
    assert not Message.objects.exists()
    assert kept(files) == []


def test_no_file_is_left_when_the_message_was_not_stored(
    clinic: Clinic, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    def send_and_fail(taken: StoredPicture) -> None:
        with uploads.removed_on_error((taken,)), transaction.atomic():
            send(clinic, pictures=(taken,))
            fail()

    with monkeypatch.context() as patch:
        patch.setattr(type(Attachment.objects.all()), "bulk_create", fail)
        with pytest.raises(RuntimeError):
            send(clinic)
    assert kept(files) == []
    first = picture()
    send(clinic, pictures=(first,))
    with pytest.raises(RuntimeError):
        send_and_fail(first)
    # The message stored before has its own.
    assert len(kept(files)) == 1
    assert kept(files)[0].match(str(Attachment.objects.get().file))


@pytest.mark.parametrize(("content", "content_type", "ending"), GOOD)
def test_the_provider_fetches_the_picture_without_signing_in(
    clinic: Clinic, content: bytes, content_type: str, ending: str
) -> None:
    message = send(clinic, pictures=(picture(content),))
    answer = Client().get(address(message))
    assert answer.status_code == 200
    assert answer.content == content
    assert answer["Content-Type"] == content_type
    assert answer["Content-Disposition"] == "inline"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "private, no-store"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert not answer.cookies
    assert Client().head(address(message)).status_code == 200
    assert Client().post(address(message)).status_code == 405


def inbound(message: Message) -> None:
    Message.objects.filter(pk=message.pk).update(direction=Direction.INBOUND)


def without_file(message: Message) -> None:
    Attachment.objects.filter(message=message).update(file="")


def file_gone(message: Message) -> None:
    storages["default"].delete(str(message.attachments.get().file))


def page_instead(message: Message) -> None:
    Attachment.objects.filter(message=message).update(content_type="text/html")


def row_gone(message: Message) -> None:
    message.attachments.all().delete()


def in_state(state: DispatchState) -> Any:
    return lambda message: Message.objects.filter(pk=message.pk).update(dispatch_state=state)


@pytest.mark.parametrize(
    "spoil",
    [inbound, without_file, file_gone, page_instead, row_gone, *map(in_state, uploads.NOT_SERVED)],
)
def test_all_that_is_not_served_gets_the_same_answer(clinic: Clinic, spoil: Any) -> None:
    message = send(clinic)
    there = address(message)
    absent = Client().get(f"/files/{'A' * 43}/picture.png")
    spoil(message)
    answers = [absent, Client().get(there)]
    assert {(answer.status_code, answer.content, answer["Content-Type"]) for answer in answers} == {
        (404, b"Not found.\n", "text/plain; charset=utf-8")
    }


@pytest.mark.parametrize("name", ["picture.jpg", "picture", "PICTURE.PNG", "x.png", "..", "picture.png\0"])
def test_a_wrong_name_and_an_address_that_was_never_given_find_nothing(clinic: Clinic, name: str) -> None:
    key = send(clinic).attachments.get().public_key
    assert Client().get(f"/files/{key}/{name}").content == b"Not found.\n"
    assert Client().get(f"/files/{str(key).swapcase()}/picture.png").status_code == 404
    assert Client().get(f"/files/{key}\0/picture.png").content == b"Not found.\n"


def test_a_message_that_no_account_may_send_does_not_publish_its_picture(clinic: Clinic) -> None:
    clinic.location.accounts.update(is_enabled=False)
    message = send(clinic)
    assert message.dispatch_state == DispatchState.REJECTED
    assert Client().get(address(message)).status_code == 404


def test_a_cancelled_message_takes_its_picture_back(clinic: Clinic) -> None:
    message = send(clinic)
    assert Client().get(address(message)).status_code == 200
    services.cancel(message=message)
    assert Client().get(address(message)).status_code == 404


def test_the_log_never_holds_the_key(clinic: Clinic, capsys: pytest.CaptureFixture[str]) -> None:
    message = send(clinic)
    Client().get(address(message))
    Client().get(address(message) + "x")
    told = capsys.readouterr()
    assert str(message.attachments.get().public_key) not in told.out + told.err


def test_a_picture_reaches_the_phone(hub: Hub, settings: LazySettings, live_server: Any) -> None:
    settings.HUB_PUBLIC_URL = live_server.url
    wanted = NewMessage(to="+12125550100", pictures=(store_picture(ContentFile(PNG)),))
    message = services.send(location=hub.location, wanted=wanted, now=timezone.now())
    hub.work_until_status(message, "delivered")
    shown = hub.sandbox.ledger()[-1]
    assert shown.media_url == message.attachments.get().url
    with urlopen(shown.media_url) as answer:  # noqa: S310
        assert BytesIO(answer.read()).getvalue() == PNG
