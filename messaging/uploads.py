"""Pictures that people attach to what they write: checked by content, kept with the message, and handed to the provider
at an address that cannot be guessed, for as long as the message may want it."""

import contextlib
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.views.decorators.http import require_safe

from messaging.media import kind_of
from messaging.models import Attachment, Direction, DispatchState, Message
from routing.errors import Refused

MAX_PICTURE_BYTES = 10 * 1024 * 1024
KEY_BYTES = 32
KEY = re.compile(r"[A-Za-z0-9_-]{43}")
TYPES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/heic": "heic",
}
"""What a phone shows in a conversation, and the ending that providers want to see in the address."""
NOT_SERVED = [DispatchState.REJECTED, DispatchState.CANCELLED, DispatchState.EXPIRED]
"""States of a message that nobody is going to fetch a picture of."""


@dataclass(frozen=True)
class StoredPicture:
    """A picture that was found to be one. It is written when its message is stored; `written` are the names under
    which that happened."""

    content: bytes = field(repr=False)
    content_type: str
    written: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The last part of its address, with a real ending."""
        return f"picture.{TYPES[self.content_type]}"


def store_picture(file: File) -> StoredPicture:  # type: ignore[type-arg]
    """The picture in an uploaded file, its type read from its content; what the file is called counts for nothing.

    Raises Refused: `picture_empty`, `picture_too_large`, `picture_type`.
    """
    file.seek(0)
    content = file.read(MAX_PICTURE_BYTES + 1)
    if not content:
        raise Refused("picture_empty", "The picture is empty; choose another one.", field="picture")
    if len(content) > MAX_PICTURE_BYTES:
        megabytes = MAX_PICTURE_BYTES // 1024 // 1024
        raise Refused(
            "picture_too_large", f"The picture is larger than {megabytes} MB; choose a smaller one.", field="picture"
        )
    content_type, _ = kind_of(content) or ("", "")
    if content_type not in TYPES:
        raise Refused("picture_type", "That is no PNG, JPEG, GIF, WebP or HEIC picture.", field="picture")
    return StoredPicture(content, content_type)


@contextlib.contextmanager
def removed_on_error(pictures: Sequence[StoredPicture]) -> Iterator[None]:
    """Around the transaction that stores a message: if it does not commit, the files written in it are removed.

    A caller with a transaction of its own around `services.send` puts this around that one too.
    """
    before = [len(picture.written) for picture in pictures]
    try:
        yield
    except BaseException:
        storage = Attachment._meta.get_field("file").storage
        for picture, count in zip(pictures, before, strict=True):
            while len(picture.written) > count:
                storage.delete(picture.written.pop())
        raise


def attach(message: Message, pictures: Sequence[StoredPicture], *, first: int) -> list[Attachment]:
    """Write the files, and give the rows, not stored yet, that name them; inside `removed_on_error`."""
    return [_attach(message, picture, first + number) for number, picture in enumerate(pictures)]


def _attach(message: Message, picture: StoredPicture, order: int) -> Attachment:
    key = secrets.token_urlsafe(KEY_BYTES)
    row = Attachment(
        location_id=message.location_id,
        message=message,
        order=order,
        url=settings.HUB_PUBLIC_URL + reverse("picture", args=[key, picture.name]),
        public_key=key,
        content_type=picture.content_type,
        size=len(picture.content),
    )
    name = row.file.field.generate_filename(row, f"{row.pk}.{TYPES[picture.content_type]}")
    row.file.name = row.file.storage.save(name, ContentFile(picture.content))
    picture.written.append(row.file.name)
    return row


@require_safe
def serve(request: HttpRequest, key: str, name: str) -> HttpResponse:
    """The picture, to whoever knows its address: the provider has no other way in. All others get the same bytes.

    How long the answer takes tells nothing of a key: it is found by the index, or not, and keys are random.
    """
    found = KEY.fullmatch(key) and (
        Attachment.objects.filter(public_key=key, message__direction=Direction.OUTBOUND, content_type__in=TYPES)
        .exclude(message__dispatch_state__in=NOT_SERVED)
        .first()
    )
    if not found or not found.file or name != f"picture.{TYPES[found.content_type]}":
        return _guarded(_nothing())
    try:
        with found.file.open("rb") as opened:
            content = opened.read()
    except FileNotFoundError:
        return _guarded(_nothing())
    response = HttpResponse(content, content_type=found.content_type)
    response["Content-Disposition"] = "inline"
    return _guarded(response)


def _nothing() -> HttpResponse:
    return HttpResponse(b"Not found.\n", status=404, content_type="text/plain; charset=utf-8")


def _guarded(response: HttpResponse) -> HttpResponse:
    """No browser runs it, guesses what it is, or keeps it."""
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response


urlpatterns = [path("<str:key>/<str:name>", serve, name="picture")]
