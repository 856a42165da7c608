"""What Sendblue's answers say of accounts, lines and webhooks; read by signs where no source shows the shape."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from provisioning.providers.base import Credentials, Health, Line
from provisioning.providers.sendblue_events import text

HEALTH: Mapping[str, Health] = {
    # Documented (SDK types, Aug 2026), but for the last.
    "ONLINE": Health.ONLINE,
    "OFFLINE": Health.OFFLINE,
    "DEGRADED": Health.DEGRADED,
    "UNKNOWN": Health.UNKNOWN,
    "BLOCKED": Health.BLOCKED,
}
# Without underscores and case. `api_key` and `api_secret` are documented; the others are cousins.
_KEY_IDS = ("apikey", "apikeyid", "sbapikeyid", "keyid")
_SECRETS = ("apisecret", "apisecretkey", "sbapisecretkey", "secretkey")
_LINE_KEYS = ("line", "lines", "number", "numbers", "phone", "phonenumber", "phonenumbers", "sendbluenumber")
_REQUEST_KEYS = ("requestid", "linerequestid", "ticketid", "ticket", "linerequest", "request")
_E164 = re.compile(r"(?<![\d+])\+[1-9]\d{6,14}(?!\d)")
_SECRET_FORM = re.compile(r"[\x21-\x7e]{1,500}")
_MAX_REQUEST_ID = 120


def credentials_in(data: Any) -> Credentials | None:
    """The new account's credentials, wherever in the answer they are; None unless both are there and usable."""
    for found in _objects(data):
        plain = {_plain(key): value for key, value in found.items()}
        key_id, secret = (
            next((plain[name] for name in names if _is_credential(plain.get(name))), None)
            for names in (_KEY_IDS, _SECRETS)
        )
        if key_id is not None and secret is not None:
            return Credentials(key_id, secret)
    return None


def _is_credential(value: Any) -> bool:
    return isinstance(value, str) and _SECRET_FORM.fullmatch(value) is not None


def lines_in(data: Any) -> tuple[Line, ...]:
    """Lines that a creation's answer names: numbers in E.164 under keys like `assign…`, `line`, `number`."""
    numbers = (number for value in _line_parts(data) for number in _E164.findall(" ".join(_strings(value))))
    return tuple(Line(number) for number in dict.fromkeys(numbers))


def request_id_in(data: Any) -> str | None:
    """The id of the line's outstanding request, if the answer names one (documented only for an older endpoint)."""
    nested = (found for value in _line_parts(data) for found in _objects(value))
    for found in (*nested, *_outer(data)):
        for key, value in found.items():
            if _plain(key) in _REQUEST_KEYS and (known := _identifier(value)):
                return known
    return next((known for value in _line_parts(data) for one in _objects(value) if (known := _identifier(one))), None)


def _identifier(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    known = str(value) if isinstance(value, str) or abs(value) < 10**18 else ""
    return known if known.isprintable() and 0 < len(known) <= _MAX_REQUEST_ID else None


def numbers_in(data: Any) -> list[str] | None:
    """Numbers of `/api/lines`, documented as `{"numbers": ["+1..."]}`; None for a shape that is no list of lines."""
    if isinstance(data, dict):
        key = next((key for key in ("numbers", "lines", "data") if key in data), None)
        if key is None:
            return None
        data = [] if data[key] is None else data[key]
    if not isinstance(data, list):
        return None
    return [number for entry in data if (number := _number_of(entry))]


def states_in(data: Any) -> list[Line] | None:
    """Lines of `/api/v2/lines/state`, documented as `data[]{sendblue_number, assignment, status}`; None as above.

    A shared line is nobody's own and is left out.
    """
    rows = data.get("data") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        return None
    return [
        Line(number, _health_of(row.get("status")))
        for row in rows
        if isinstance(row, dict) and row.get("assignment") != "shared" and (number := _number_of(row))
    ]


def merged(numbers: Sequence[str] | None, states: Iterable[Line]) -> list[Line]:
    """The lines of both lists, each once, with the health of the second; the first one's order and spelling win."""
    lines = {_digits(number): Line(number) for number in numbers or ()}
    for state in states:
        known = lines.get(_digits(state.phone_number), state)
        lines[_digits(state.phone_number)] = replace(known, health=state.health)
    return list(lines.values())


def _number_of(entry: Any) -> str:
    """The number of one entry, as it was written; "" if it holds nothing like one."""
    if isinstance(entry, dict):
        plain = {_plain(key): value for key, value in entry.items()}
        entry = next((plain[key] for key in ("sendbluenumber", "phonenumber", "number", "line") if key in plain), None)
    return entry.strip() if isinstance(entry, str) and len(entry) <= 64 and len(_digits(entry)) > 6 else ""


def _health_of(word: Any) -> Health:
    return HEALTH.get(word.upper(), Health.UNKNOWN) if isinstance(word, str) else Health.UNKNOWN


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def _plain(key: Any) -> str:
    return re.sub(r"[^a-z0-9]", "", str(key).lower())


def _line_parts(data: Any) -> Iterator[Any]:
    """What the answer's outer objects hold of lines; deeper ones may speak of a person's own number."""
    for found in _outer(data):
        for key, value in found.items():
            if _plain(key).startswith("assign") or _plain(key) in _LINE_KEYS:
                yield value


def _outer(data: Any) -> Iterator[dict[Any, Any]]:
    """The answer itself and its `data`, as far as they are objects."""
    if isinstance(data, dict):
        yield data
        if isinstance(data.get("data"), dict):
            yield data["data"]


def _walk(data: Any) -> Iterator[Any]:
    """Every value inside, outermost first. Without recursion: an answer may be nested deeply."""
    waiting = [data]
    for value in waiting:
        yield value
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _objects(data: Any) -> Iterator[dict[Any, Any]]:
    return (value for value in _walk(data) if isinstance(value, dict))


def _strings(data: Any) -> Iterator[str]:
    return (value for value in _walk(data) if isinstance(value, str))


def with_topic(url: str, topic: str) -> str:
    """The URL with the event type in its query: a hint for `parse`, since notices need not name their own type."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode({"topic": topic}))))))


def _entry_url(entry: Any) -> str:
    return text(entry.get("url") if isinstance(entry, dict) else entry)


def is_ours(entry: Any, url: str) -> bool:
    """Whether an entry leads to our path; the host may have been another one."""
    try:
        return urlsplit(_entry_url(entry)).path == urlsplit(url).path
    except ValueError:
        return False


def is_registered(there: Mapping[str, Any], wanted: Mapping[str, Mapping[str, str]], url: str) -> bool:
    """Whether each wanted entry is there once and nothing else leads to our path. A masked secret counts as equal."""
    for kind in {*there, *wanted}:
        entries = there.get(kind)
        ours = [entry for entry in entries if is_ours(entry, url)] if isinstance(entries, list) else []
        if kind not in wanted:
            if ours:
                return False
            continue
        if len(ours) != 1 or not isinstance(ours[0], dict):
            return False
        # Addresses in clear text are listed as https (seen).
        if _entry_url(ours[0]) not in (wanted[kind]["url"], wanted[kind]["url"].replace("http://", "https://", 1)):
            return False
        shown = ours[0].get("secret")
        if isinstance(shown, str) and "*" not in shown and shown != wanted[kind]["secret"]:
            return False
    return True
