"""HTTP to providers, hardened: one total deadline, nothing repeated, nothing followed, and it is known what left.

The one question after a failed call is whether the provider may have acted. So the connection (see
`connections.py`) notes when the first byte is written: a failure until then is `Unavailable`, later it is `Uncertain`.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from provisioning.providers.base import AccountRejected, ProviderError, Rejected, Unavailable, Uncertain
from provisioning.providers.connections import Call, NotSentError, Transport, now, under_way

MAX_BODY_BYTES = 64 * 1024
MAX_RETRY_AFTER = timedelta(hours=1)
MAX_WORDS = 300
USER_AGENT = "imessage-hub"
_PATH = re.compile(r"(/[A-Za-z0-9_\-.~]*)+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `data` is the decoded JSON, of any type, and means nothing unless `readable`."""

    status: int
    readable: bool
    data: Any = field(default=None, repr=False)
    retry_after: timedelta | None = None


def classify(answer: Answer, *, hide: Sequence[str] = ()) -> ProviderError | None:
    """The error an answer stands for; None for a readable 2xx.

    `hide`: credentials, texts and addresses of the call, which a provider may quote in its words; they are masked in
    `detail`. The code is the provider's own if it names one, else `http_<status>`.
    """
    status, given, words = answer.status, *_words_of(answer, hide)
    code, detail = given or f"http_{status}", words or f"HTTP {status}"
    if 200 <= status < 300:
        return None if answer.readable else Uncertain("unreadable_answer", f"HTTP {status}, but not JSON.")
    if status == 429:
        return Unavailable(code, detail, retry_after=answer.retry_after, too_fast=True)
    if status in (401, 402, 403):
        return AccountRejected(code, detail, payment_required=status == 402)
    if status in (400, 404, 422) and isinstance(answer.data, dict):
        return Rejected(code, detail)
    return Uncertain(f"http_{status}", detail)


def _words_of(answer: Answer, hide: Sequence[str]) -> tuple[str, str]:
    """The provider's error code and words, cleaned; "" for each that it does not give."""
    data = answer.data if isinstance(answer.data, dict) else {}
    code = data.get("error_code", data.get("code"))
    named = [data.get(key) for key in ("error_message", "message", "error", "error_detail", "error_reason", "detail")]
    words = next((value for value in named if isinstance(value, str) and value.strip()), "")
    return error_code(code), clean(words, limit=MAX_WORDS, hide=hide)


def error_code(value: Any) -> str:
    """A provider's error code as text of at most 64 characters; "" for none, null, 0 and what is no code."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value in (0, "0"):
        return ""
    return clean(str(value) if isinstance(value, str) or abs(value) < 10**18 else "", limit=64)


def clean(text: str, *, limit: int, hide: Sequence[str] = ()) -> str:
    """One line of at most `limit` characters, without control characters and with everything in `hide` masked."""
    for secret in sorted(hide, key=len, reverse=True):
        if len(secret) > 3:
            text = text.replace(secret, "[hidden]")
    return _CONTROL.sub(" ", text[: 8 * limit]).strip()[:limit]


def retry_after(value: str | None) -> timedelta | None:
    """What a Retry-After header asks for, in seconds or as an HTTP date; an hour at most, None if it is unclear."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=int(value[:9])), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment - datetime.now(UTC), timedelta()), MAX_RETRY_AFTER)


class _Session(requests.Session):
    """A session that takes nothing from its surroundings, keeps no cookie and follows nothing."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.mount("https://", transport)
        self.mount("http://", transport)
        self.headers.clear()
        self.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT})

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None always: requests reads the whole body of a redirect, without a limit, even when told not to follow."""


class ProviderHTTP:
    """JSON requests to one provider, below `base_url` and nowhere else. Safe to use from several threads.

    `base_url`: http or https, a host, perhaps a path; ValueError for anything more. `deadline`: for one call in total,
    names and connecting included. `name`: the provider's, for error texts.
    """

    def __init__(self, base_url: str, deadline: timedelta, name: str) -> None:
        self._base_url = _checked_base(base_url)
        self._deadline_s = deadline.total_seconds()
        self._name = name
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._transport = Transport()
        self._sessions = threading.local()

    def until(self) -> float:
        """The instant, on the clock of `request`, at which an operation that begins now has to be over."""
        return now() + self._deadline_s

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any = None,
        query: Mapping[str, str] | None = None,
        until: float | None = None,
        before_first_byte: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one request once; the whole answer, whatever its status.

        `body` is sent as JSON unless None. `until` lets several requests share one deadline; None: one of its own.
        `before_first_byte` is called on the connected socket, right before the first write; what it raises comes out,
        and nothing was sent. Raises Unavailable if nothing left, Uncertain if the answer is lost, broken or over
        `MAX_BODY_BYTES`. The two are told apart for a GET as well, where a repeat does no harm. AccountRejected for
        header values that cannot be sent, ValueError for a path that could lead elsewhere.
        """
        url = self._base_url + checked_path(path)
        if not all(value.isascii() and value.isprintable() and value == value.strip() for value in headers.values()):
            raise AccountRejected("unusable_credentials", "The credentials hold characters that no header can carry.")
        payload = None if body is None else json.dumps(body, allow_nan=False).encode()
        sent_headers = dict(headers) if payload is None else {**headers, "Content-Type": "application/json"}
        call = Call(self.until() if until is None else until, before_first_byte)
        try:
            with under_way(call):
                return self._exchange(call, method, url, sent_headers, payload, query)
        except (NotSentError, requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            failure = call.failure(self._name, error)
        # Out here, so that the client's own error, which may hold address and headers, is not attached.
        raise call.stopped_by or failure

    def _exchange(
        self,
        call: Call,
        method: str,
        url: str,
        headers: Mapping[str, str],
        payload: bytes | None,
        query: Mapping[str, str] | None,
    ) -> Answer:
        with self._session().request(
            method,
            url,
            params=query,
            data=payload,
            headers=headers,
            timeout=call.left_s(),
            allow_redirects=False,
            stream=True,
        ) as response:
            content = bytearray()
            while chunk := response.raw.read(16 * 1024, decode_content=False):
                content += chunk
                if len(content) > MAX_BODY_BYTES:
                    raise Uncertain("oversize_answer", f"{self._name} answered more than {MAX_BODY_BYTES} bytes.")
            if call.expired:
                # A body that lasts until the connection ends looks whole when the watchdog ends it.
                raise TimeoutError
            readable, data = _decoded(bytes(content))
            return Answer(response.status_code, readable, data, retry_after(response.headers.get("Retry-After")))

    def _session(self) -> _Session:
        if self._pid != os.getpid():
            # A forked child must not write into its parent's connections.
            self._renew()
        session: _Session | None = getattr(self._sessions, "session", None)
        if session is None:
            session = self._sessions.session = _Session(self._transport)
        return session


def _checked_base(url: str) -> str:
    url = url.rstrip("/")
    parts = urlsplit(url)
    clear = url.isascii() and url.isprintable() and not re.search(r"[\s\\@?#%]", url)
    if not clear or parts.scheme not in ("http", "https") or not parts.hostname or (parts.path and not _ok(parts.path)):
        raise ValueError("A provider's base URL is http or https, a host, perhaps a port and a path, and no more.")
    parts.port  # noqa: B018 - raises ValueError for what is no port
    return url


def checked_path(path: str) -> str:
    """The path as it is; ValueError unless it stays below the base: plain segments, no dots, query or escapes."""
    if not _ok(path):
        raise ValueError("A provider's path begins with a slash and holds plain segments only.")
    return path


def _ok(path: str) -> bool:
    return _PATH.fullmatch(path) is not None and not {".", ".."} & set(path.split("/"))


def _decoded(content: bytes) -> tuple[bool, Any]:
    """Whether it is JSON, and what it says. NaN and infinities, which JSON does not have, make it unreadable."""
    try:
        return True, json.loads(content, parse_constant=_refused)
    except (ValueError, RecursionError):
        return False, None


def _refused(word: str) -> Any:
    raise ValueError(word)
