"""Pictures and files that customers sent: fetched once, checked by content, and kept, because providers delete them.

The address comes from outside: `messaging.outside` says which are followed.
"""

import re
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.core.files.base import ContentFile
from django.utils import timezone

from messaging.models import Attachment
from messaging.outside import Exchange, Refused, TryLater, exchange
from provisioning.duties import claim_due, finish

log = structlog.get_logger("hub.media")

MAX_BYTES = 20 * 1024 * 1024
FETCH_DEADLINE_S = 30.0
TRIES = 14
"""The last one most of a day after the first: what was sent while the network was down is not lost."""
CHUNK = 64 * 1024

# How files begin → type and ending. What is not here is not kept: nothing that a browser would run.
SIGNATURES: tuple[tuple[re.Pattern[bytes], str, str], ...] = tuple(
    (re.compile(start, re.DOTALL), content_type, ending)
    for start, content_type, ending in (
        (rb"\x89PNG\r\n\x1a\n", "image/png", "png"),
        (rb"\xff\xd8\xff", "image/jpeg", "jpg"),
        (rb"GIF8[79]a", "image/gif", "gif"),
        (rb"RIFF.{4}WEBP", "image/webp", "webp"),
        (rb"\0\0..ftyphei[cx]", "image/heic", "heic"),
        (rb"\0\0..ftypmif1", "image/heif", "heif"),
        (rb"\0\0..ftypqt", "video/quicktime", "mov"),
        (rb"\0\0..ftypM4A", "audio/mp4", "m4a"),
        (rb"\0\0..ftyp", "video/mp4", "mp4"),
        (rb"caff", "audio/x-caf", "caf"),
        (rb"#!AMR", "audio/amr", "amr"),
        (rb"ID3", "audio/mpeg", "mp3"),
        (rb"%PDF-", "application/pdf", "pdf"),
        (rb"BEGIN:VCARD", "text/vcard", "vcf"),
    )
)


@dataclass(frozen=True)
class _File:
    content: bytes
    content_type: str
    ending: str


def take_due(limit: int) -> list[Attachment]:
    """Claim up to `limit` attachments that are to be fetched."""
    return list(claim_due(Attachment.objects.all(), limit=limit, lease=settings.HUB_LEASE))


def fetch(attachment: Attachment) -> str:
    """Fetch and keep one claimed attachment; on failure it comes back later, or the reason is written down."""
    try:
        file = download(attachment.url)
    except Refused as error:
        finish(attachment, due_in=None, problem=str(error)[:200])
        return "refused"
    except TryLater as error:
        if attachment.attempts >= TRIES:
            finish(attachment, due_in=None, problem=str(error)[:200])
            return "given up"
        finish(attachment, due_in=timedelta(seconds=5 * 2**attachment.attempts))
        return "later"
    storage = attachment.file.storage
    name = storage.save(
        attachment.file.field.generate_filename(attachment, f"{attachment.pk}.{file.ending}"), ContentFile(file.content)
    )
    kept = finish(
        attachment,
        due_in=None,
        file=name,
        content_type=file.content_type,
        size=len(file.content),
        fetched_at=timezone.now(),
        problem="",
    )
    if not kept:
        storage.delete(name)
    return "fetched"


def download(url: str) -> _File:
    """The file at `url`, its type read from its content. Raises Refused or TryLater."""
    with exchange("GET", url, deadline_s=FETCH_DEADLINE_S, trusted=settings.HUB_MEDIA_TRUSTED_HOSTS) as answer:
        return _read(answer)


def _read(answer: Exchange) -> _File:
    if answer.status in (404, 410):
        raise Refused("The file is no longer there.")
    if answer.status != 200:
        raise TryLater(f"The host of the file answered {answer.status}.")
    chunks: list[bytes] = []
    size = 0
    for chunk in answer.chunks(CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise Refused(f"The file is larger than {MAX_BYTES // 1024 // 1024} MiB.")
    if answer.over:
        # A body that lasts until the connection ends looks whole when the deadline ends it.
        raise TryLater("The file came too slowly.")
    content = b"".join(chunks)
    kind = kind_of(content)
    if kind is None:
        raise Refused("The file is of a type that is not kept.")
    return _File(content, *kind)


def kind_of(content: bytes) -> tuple[str, str] | None:
    """Type and ending of a file by how it begins; None for what is not kept."""
    return next(((content_type, ending) for start, content_type, ending in SIGNATURES if start.match(content)), None)
