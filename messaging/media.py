"""Pictures and files that customers sent: fetched once, checked by content, and kept, because providers delete them.

The address comes from outside: it is never followed to a private network, to another port, or through a redirect.
"""

import ipaddress
import socket
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
import urllib3
from django.conf import settings
from django.core.files.base import ContentFile
from django.utils import timezone
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Timeout, Url, parse_url

from messaging.models import Attachment
from provisioning.duties import claim_due, finish

log = structlog.get_logger("hub.media")

MAX_BYTES = 20 * 1024 * 1024
FETCH_DEADLINE_S = 30.0
TRIES = 8
CHUNK = 64 * 1024

# First bytes → type and ending. What is not here is not kept: nothing that a browser would run.
SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (0, b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (0, b"GIF87a", "image/gif", "gif"),
    (0, b"GIF89a", "image/gif", "gif"),
    (8, b"WEBP", "image/webp", "webp"),
    (4, b"ftypheic", "image/heic", "heic"),
    (4, b"ftypheix", "image/heic", "heic"),
    (4, b"ftypmif1", "image/heif", "heif"),
    (4, b"ftypqt", "video/quicktime", "mov"),
    (4, b"ftypM4A", "audio/mp4", "m4a"),
    (4, b"ftyp", "video/mp4", "mp4"),
    (0, b"caff", "audio/x-caf", "caf"),
    (0, b"#!AMR", "audio/amr", "amr"),
    (0, b"ID3", "audio/mpeg", "mp3"),
    (0, b"%PDF-", "application/pdf", "pdf"),
    (0, b"BEGIN:VCARD", "text/vcard", "vcf"),
)

# Beside what `ipaddress` calls not global; older Pythons call some of these global although they lead inside.
INNER_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "::/96",
    )
)


class Refused(Exception):  # noqa: N818
    """The file is not taken, now or ever; the text says why."""


class TryLater(Exception):  # noqa: N818
    """The file could not be fetched this time."""


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
    parsed = _checked(url)
    address = _resolve(parsed)
    deadline = time.monotonic() + FETCH_DEADLINE_S
    try:
        with (
            _pool(parsed, address) as pool,
            pool.urlopen(
                "GET",
                parsed.request_uri,
                headers={"Host": parsed.netloc or "", "Accept-Encoding": "identity", "User-Agent": "iMessage-Hub"},
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=Timeout(connect=5, read=10),
            ) as response,
        ):
            return _read(response, deadline)
    except (HTTPError, OSError) as error:
        raise TryLater(f"The file could not be fetched ({type(error).__name__}).") from error


def _checked(url: str) -> Url:
    """The URL, if it is one that may be fetched; parsed by the library that connects, so that both read the same."""
    if not url.isascii() or not url.isprintable() or "\\" in url:
        raise Refused("The address of the file holds characters that addresses do not have.")
    try:
        parsed = parse_url(url)
    except LocationParseError as error:
        raise Refused("The address of the file cannot be read.") from error
    trusted = parsed.netloc in settings.HUB_MEDIA_TRUSTED_HOSTS
    if not parsed.host or parsed.auth is not None:
        raise Refused("The address of the file is not a plain web address.")
    if not trusted and (parsed.scheme != "https" or parsed.port not in (None, 443)):
        raise Refused("Files are fetched by https only.")
    return parsed


def _resolve(parsed: Url) -> str:
    """The one address to connect to. Every address that the name has must be public, except of trusted hosts."""
    host = (parsed.host or "").strip("[]")
    try:
        found = socket.getaddrinfo(host, parsed.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TryLater("The host of the file has no address.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if parsed.netloc not in settings.HUB_MEDIA_TRUSTED_HOSTS and not all(is_public(address) for address in addresses):
        raise Refused("The file lies in a private network.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is reached over the public internet, and over nothing that leads back inside."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    inner = any(ip in network for network in INNER_NETWORKS if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not inner


def _pool(parsed: Url, address: str) -> Any:
    """A pool to exactly that address, which still checks the certificate against the name."""
    if parsed.scheme == "https":
        host = (parsed.host or "").strip("[]")
        return urllib3.HTTPSConnectionPool(
            address, parsed.port or 443, assert_hostname=host, server_hostname=host, cert_reqs="CERT_REQUIRED"
        )
    return urllib3.HTTPConnectionPool(address, parsed.port or 80)


def _read(response: Any, deadline: float) -> _File:
    if response.status in (404, 410):
        raise Refused("The file is no longer there.")
    if response.status != 200:
        raise TryLater(f"The host of the file answered {response.status}.")
    chunks: list[bytes] = []
    size = 0
    for chunk in response.stream(CHUNK, decode_content=False):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise Refused(f"The file is larger than {MAX_BYTES // 1024 // 1024} MiB.")
        if time.monotonic() > deadline:
            raise TryLater("The file came too slowly.")
    content = b"".join(chunks)
    for offset, signature, content_type, ending in SIGNATURES:
        if content[offset : offset + len(signature)] == signature:
            return _File(content, content_type, ending)
    raise Refused("The file is of a type that is not kept.")
