"""HTTP to addresses that somebody else named: files that customers sent, and the webhooks of clients.

Such an address is never followed to a private network, past its deadline, through a redirect or a proxy. What was
checked is what is connected to: the name is looked up once, and the connection goes to the address that was found.
"""

import contextlib
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Timeout, Url, parse_url

from provisioning.providers import connections

USER_AGENT = "iMessage-Hub"
CONNECT_S = 5.0
HTTPS_PORT = 443

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
    """The address is not followed, now or ever; the text says why."""


class TryLater(Exception):
    """Nothing, or not all of it, came this time."""


@dataclass
class Exchange:
    """An answer that is being read. `over`: the deadline ended it, however whole it looks."""

    response: BaseHTTPResponse
    _deadline: "_Deadline"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self._deadline.over

    def chunks(self, size: int) -> Iterator[bytes]:
        """The body as it came, not decoded; whoever reads stops where it is enough."""
        return self.response.stream(size, decode_content=False)


@contextlib.contextmanager
def exchange(
    method: str,
    url: str,
    *,
    deadline_s: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    trusted: Collection[str] = (),
    any_port: bool = False,
) -> Iterator[Exchange]:
    """One request to `url`, which is over after `deadline_s` in total, wherever it stands.

    `trusted`: each a `host:port` that may be private and plain http. `any_port`: others than 443 are reached as well.
    Raises Refused for an address that is not followed, TryLater when the exchange broke, also while the body is read.
    """
    parsed = checked(url, trusted=trusted, any_port=any_port)
    until = time.monotonic() + deadline_s
    address = _resolve(parsed, deadline_s, trusted)
    sent = {"Host": parsed.netloc or "", "Accept-Encoding": "identity", "User-Agent": USER_AGENT, **(headers or {})}
    try:
        with (
            _deadline(max(until - time.monotonic(), 0.0)) as deadline,
            _pool(parsed, address, deadline) as pool,
            pool.urlopen(
                method,
                parsed.request_uri,
                body=body,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=Timeout(connect=min(CONNECT_S, deadline_s), read=deadline_s),
            ) as response,
        ):
            yield Exchange(response, deadline)
    except (HTTPError, OSError) as error:
        raise TryLater(f"The connection failed ({type(error).__name__}).") from error


def checked(url: str, *, trusted: Collection[str] = (), any_port: bool = False) -> Url:
    """The URL, if it may be followed as far as its text can tell. Raises Refused.

    Parsed by the library that connects, so that both read the same.
    """
    if not url.isascii() or not url.isprintable() or "\\" in url:
        raise Refused("The address holds characters that addresses do not have.")
    try:
        parsed = parse_url(url)
    except LocationParseError as error:
        raise Refused("The address cannot be read.") from error
    if not parsed.host or parsed.auth is not None:
        raise Refused("The address is not a plain web address.")
    if parsed.netloc in trusted:
        return parsed
    if parsed.scheme != "https" or not (any_port or parsed.port in (None, HTTPS_PORT)) or parsed.port == 0:
        raise Refused("Only https addresses are followed.")
    with contextlib.suppress(ValueError):
        if not is_public(_host(parsed)):
            raise Refused("The address lies in a private network.")
    return parsed


def is_public(address: str) -> bool:
    """Whether an IP address is reached over the public internet, and over nothing that leads back inside. Raises
    ValueError for what is none."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip not in PUBLIC_IPV6:
            return False
    inner = any(ip in network for network in INNER_NETWORKS if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not inner


def _host(parsed: Url) -> str:
    return (parsed.host or "").strip("[]")


def _resolve(parsed: Url, timeout_s: float, trusted: Collection[str]) -> str:
    """The one address to connect to. Every address that the name has must be public, except of trusted hosts."""
    host = _host(parsed)
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise Refused("The address names no host.") from error
    try:
        found = connections.resolve(host, parsed.port or HTTPS_PORT, timeout_s)
    except connections.NotSentError as error:
        raise TryLater("The host has no address.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if parsed.netloc not in trusted and not all(is_public(address) for address in addresses):
        raise Refused("The address lies in a private network.")
    return addresses[0]


class _Deadline:
    """Ends an exchange, wherever it stands: timeouts of sockets count per operation, and a slow drip never ends."""

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
def _deadline(seconds: float) -> Iterator[_Deadline]:
    deadline = _Deadline()
    timer = threading.Timer(seconds, deadline.end)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()
        deadline.close()


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
        host = _host(parsed)
        return _TlsPool(
            address,
            parsed.port or HTTPS_PORT,
            assert_hostname=host,
            server_hostname=host,
            cert_reqs="CERT_REQUIRED",
            deadline=deadline,
        )
    return _Pool(address, parsed.port or 80, deadline=deadline)
