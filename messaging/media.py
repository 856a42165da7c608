"""Pictures and files that customers sent: fetched once, checked by content, and kept, because providers delete them.

The address comes from outside: it is never followed to a private network, to another port, or through a redirect.
"""

import contextlib
import ipaddress
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.files.base import ContentFile
from django.utils import timezone
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Timeout, Url, parse_url

from messaging.models import Attachment
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

PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
"""All that was ever given out; what lies beside it is local, multicast, or an IPv4 address in other clothes."""
# Beside what `ipaddress` calls not global: it differs between versions of Python, and some of these lead inside.
INNER_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)


class Refused(Exception):
    """The file is not taken, now or ever; the text says why."""


class TryLater(Exception):
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
    try:
        with (
            _deadline() as deadline,
            _pool(parsed, address, deadline) as pool,
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


class _Deadline:
    """Ends a fetch, wherever it stands: timeouts of sockets count for each operation, and a slow drip never ends."""

    def __init__(self) -> None:
        self.over = False
        self._handle: socket.socket | None = None
        self._lock = threading.Lock()

    def watch(self, sock: socket.socket) -> None:
        with self._lock:
            # A duplicate: it stays valid, and ours, whatever TLS or the pool do with the socket in the meantime.
            self._handle = socket.socket(fileno=os.dup(sock.fileno()))
        if self.over:
            raise TimeoutError

    def end(self) -> None:
        with self._lock:
            self.over = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


@contextlib.contextmanager
def _deadline() -> Iterator[_Deadline]:
    deadline = _Deadline()
    timer = threading.Timer(FETCH_DEADLINE_S, deadline.end)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()
        deadline.close()


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
    except UnicodeError as error:
        raise Refused("The address of the file names no host.") from error
    except OSError as error:
        raise TryLater("The host of the file has no address.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if parsed.netloc not in settings.HUB_MEDIA_TRUSTED_HOSTS and not all(is_public(address) for address in addresses):
        raise Refused("The file lies in a private network.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is reached over the public internet, and over nothing that leads back inside."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip not in PUBLIC_IPV6:
            return False
    inner = any(ip in network for network in INNER_NETWORKS if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not inner


class _Connection(HTTPConnection):
    """A connection that a deadline ends."""

    def __init__(self, *args: Any, deadline: _Deadline, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline = deadline

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        self._deadline.watch(sock)
        return sock


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    """Plain connections: to trusted hosts only."""

    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    """Connections that check the certificate."""

    ConnectionCls = _TlsConnection


def _pool(parsed: Url, address: str, deadline: _Deadline) -> Any:
    """A pool to exactly that address, which still checks the certificate against the name."""
    if parsed.scheme == "https":
        host = (parsed.host or "").strip("[]")
        return _TlsPool(
            address,
            parsed.port or 443,
            assert_hostname=host,
            server_hostname=host,
            cert_reqs="CERT_REQUIRED",
            deadline=deadline,
        )
    return _Pool(address, parsed.port or 80, deadline=deadline)


def _read(response: Any, deadline: _Deadline) -> _File:
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
    if deadline.over:
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
