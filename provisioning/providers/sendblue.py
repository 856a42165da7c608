"""The adapter for Sendblue.

What it relies on, and how far: "documented" means the vendor's pages or its SDK types (v3.14, Aug 2026), "seen" means
third parties against the live service, "unknown" means that no source shows it. Both hosts, `api.sendblue.co` and
`api.sendblue.com`, are documented and answer alike (seen), so the base URL is configuration.
"""

import hashlib
import hmac
import re
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta
from typing import Any, TypeVar

from provisioning.providers.base import (
    Accepted,
    AccountRejected,
    Adapter,
    Capability,
    Credentials,
    Line,
    NewSubaccount,
    Outgoing,
    Pace,
    Parsed,
    ProviderError,
    Rejected,
    Sought,
    Subaccount,
    Unavailable,
    Uncertain,
    matches_any,
)
from provisioning.providers.http import Answer, ProviderHTTP, checked_path, classify, error_code
from provisioning.providers.sendblue_accounts import (
    credentials_in,
    is_ours,
    is_registered,
    lines_in,
    merged,
    numbers_in,
    request_id_in,
    states_in,
    with_topic,
)
from provisioning.providers.sendblue_events import MAX_ID, PACE_CODES, UNRESOLVED_CODE, moment, parse, service_of, text

# The four we act on. `typing_indicator` is in the SDK types, but its registration was refused (seen, May 2026).
WEBHOOK_TYPES = ("receive", "outbound", "line_assigned", "line_blocked")
WEBHOOKS, MESSAGES = "/api/account/webhooks", "/api/v2/messages"
SIGNATURE_TOLERANCE_S = 300
LOOKUP_SLACK = timedelta(seconds=60)
# A page of ordinary messages has to stay below the limit of an answer.
LOOKUP_PAGE, LOOKUP_PAGES = 25, 20
# Only the command-line tool's rule for company names is documented: 3 to 64 of these. It is kept here as well.
Found = TypeVar("Found")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class SendblueConfig:
    """Where Sendblue is and who we are there. `contact_email` gets a tag for each subaccount: `name+tag@domain`."""

    base_url: str
    agency_key_id: str = field(repr=False)
    agency_secret: str = field(repr=False)
    create_subaccount_path: str
    contact_email: str
    deadline: timedelta
    pace: Pace = field(default_factory=Pace)


class SendblueAdapter(Adapter):
    """Sendblue over HTTP. ValueError if the configured address or path is none."""

    name = "sendblue"
    label = "Sendblue"
    capabilities = (
        Capability.CREATE_SUBACCOUNT
        | Capability.CALLBACK_URL
        | Capability.LOOKUP
        | Capability.MARK_READ
        | Capability.TYPING
    )

    def __init__(self, config: SendblueConfig) -> None:
        self._config = config
        self.pace = config.pace
        self._http = ProviderHTTP(config.base_url, config.deadline, self.label)
        self._create_path = checked_path(config.create_subaccount_path)

    # --- subaccounts and lines ----------------------------------------------------------------------------------------
    def create_subaccount(self, wanted: NewSubaccount) -> Subaccount:
        """Ask for a child account with a line, by the agency's credentials.

        Documented: path (in two versions, hence configuration), request, and an answer that shows `api_key` and
        `api_secret` once. Unknown: what the answer says of the line; what is found there is taken, and `list_lines`
        tells the rest. An answer without readable credentials is Uncertain: the account may exist, its secret is lost.
        """
        config = self._config
        if not (config.agency_key_id and config.agency_secret and "@" in config.contact_email):
            raise Rejected("not_configured", "Sendblue's agency credentials or the contact address are not configured.")
        tag = reference_tag(wanted.reference)
        mailbox, _, domain = config.contact_email.rpartition("@")
        body: dict[str, Any] = {
            "company_name": company_name(wanted.business_name, tag),
            "primary_email": f"{mailbox}+{tag}@{domain}",
            "provision_line": True,
        }
        if wanted.area_code:
            body["desired_area_code"] = wanted.area_code
        agency = Credentials(config.agency_key_id, config.agency_secret)
        answer = self._call(agency, "POST", self._create_path, body=body)
        credentials = credentials_in(answer.data)
        if credentials is None:
            raise Uncertain("unreadable_answer", "Sendblue's answer holds no credentials that could be read.")
        lines = lines_in(answer.data)
        return Subaccount(credentials, lines, None if lines else request_id_in(answer.data))

    def list_lines(self, credentials: Credentials) -> Sequence[Line]:
        """The numbers of `/api/lines` with the health of `/api/v2/lines/state` (both documented).

        One of the two may be missing or of another shape, or the second may fail: the other is enough. Blocked lines
        are not marked in either: only the webhook `line_blocked` tells.
        """
        until = self._http.until()
        numbers = self._listed(credentials, "/api/lines", numbers_in, until)
        try:
            states = self._listed(credentials, "/api/v2/lines/state", states_in, until)
        except AccountRejected:
            raise
        except ProviderError:
            if numbers is None:
                raise
            states = None
        if numbers is None and states is None:
            raise Uncertain("unreadable_answer", "Sendblue's lists of lines could not be read.")
        return merged(numbers, states or ())

    def _listed(
        self, credentials: Credentials, path: str, read: Callable[[Any], Found | None], until: float
    ) -> Found | None:
        """What `read` finds in the answer; None if the list is not there or of an unknown shape."""
        try:
            return read(self._call(credentials, "GET", path, until=until, is_list=True).data)
        except AccountRejected:
            raise
        except Rejected:
            return None

    # --- webhooks -----------------------------------------------------------------------------------------------------
    def register_webhooks(self, credentials: Credentials, *, url: str, secret: str) -> None:
        """Have the four types sent to `url?topic=<type>`, each entry with the secret (all documented).

        New entries are appended by POST, which touches nothing else. Only when an entry of ours has to go, everything
        is written anew by PUT, with the others as they were read: so no event falls into a gap. What is registered is
        read back, because a PUT was seen to drop entries in silence.
        """
        until = self._http.until()
        hide = (secret, url)
        wanted = {kind: {"url": with_topic(url, kind), "secret": secret} for kind in WEBHOOK_TYPES}
        there = self._webhooks(credentials, until)
        if is_registered(there, wanted, url):
            return
        if any(is_ours(entry, url) for entries in there.values() if isinstance(entries, list) for entry in entries):
            kept: dict[str, Any] = {
                kind: [entry for entry in entries if not is_ours(entry, url)] if isinstance(entries, list) else entries
                for kind, entries in there.items()
                if entries
            }
            for kind, entry in wanted.items():
                kept[kind] = [*(kept.get(kind) or []), entry]
            self._call(credentials, "PUT", WEBHOOKS, body={"webhooks": kept}, until=until, hide=hide)
        else:
            for kind, entry in wanted.items():
                body = {"webhooks": [entry], "type": kind}
                self._call(credentials, "POST", WEBHOOKS, body=body, until=until, hide=hide)
        if not is_registered(self._webhooks(credentials, until), wanted, url):
            raise Unavailable("webhooks_missing", "Sendblue took the webhooks, but does not list them.")

    def _webhooks(self, credentials: Credentials, until: float) -> dict[str, Any]:
        data = self._call(credentials, "GET", WEBHOOKS, until=until).data
        webhooks = data.get("webhooks") if isinstance(data, dict) else None
        if not isinstance(webhooks, dict):
            raise Uncertain("unreadable_answer", "Sendblue's list of webhooks could not be read.")
        return webhooks

    # --- messages -----------------------------------------------------------------------------------------------------
    def send(
        self, credentials: Credentials, message: Outgoing, *, before_first_byte: Callable[[], None] | None = None
    ) -> Accepted:
        """POST `/api/send-message` (documented; no idempotency key exists, so it is never repeated here).

        An answer without a `message_handle` is Uncertain. So is one that reports an error whose meaning for the message
        is unknown; 10002, the vendor not knowing the fate of a message that it has, counts as accepted.
        """
        body = {"number": message.to, "from_number": message.from_number}
        optional = {
            "content": message.text,
            "media_url": message.media_url,
            "send_style": message.send_style,
            "status_callback": message.callback_url,
        }
        body |= {key: value for key, value in optional.items() if value}
        hide = tuple(filter(None, (message.text, message.media_url, message.callback_url)))
        answer = self._call(
            credentials, "POST", "/api/send-message", body=body, hide=hide, before_first_byte=before_first_byte
        )
        return _accepted(answer, (*hide, credentials.key_id, credentials.secret))

    def lookup(self, credentials: Credentials, sought: Sought) -> Sequence[Accepted]:
        """Messages of this line to this number with exactly this content and media, not older than asked for.

        `GET /api/v2/messages` with filters, in pages (documented). Filters are applied here once more, and no order
        is asked for: the documents spell `order_by` in two ways. A message without a readable date is left out.
        """
        until = self._http.until()
        oldest = sought.not_before - LOOKUP_SLACK
        query = {
            "is_outbound": "true",
            "number": sought.to,
            "sendblue_number": sought.from_number,
            "created_at_gte": oldest.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "limit": str(LOOKUP_PAGE),
        }
        found: dict[str, Accepted] = {}
        for page in range(LOOKUP_PAGES):
            paged = {**query, "offset": str(page * LOOKUP_PAGE)}
            data = self._call(credentials, "GET", MESSAGES, query=paged, until=until).data
            messages = data.get("data") if isinstance(data, dict) else data
            if not isinstance(messages, list):
                raise Uncertain("unreadable_answer", "Sendblue's list of messages could not be read.")
            for message in messages:
                if isinstance(message, dict) and _could_be(message, sought, oldest.timestamp()):
                    handle = text(message.get("message_handle"), MAX_ID)
                    found[handle] = Accepted(handle, sought.from_number, service_of(message))
            pagination = data.get("pagination") if isinstance(data, dict) else None
            if not messages or not (isinstance(pagination, dict) and pagination.get("hasMore") is True):
                break
        return list(found.values())

    def mark_read(self, credentials: Credentials, *, to: str, from_number: str) -> None:
        """POST `/api/mark-read` (seen; the vendor has to switch it on for an account)."""
        self._minor(credentials, "/api/mark-read", {"number": to, "from_number": from_number})

    def typing(self, credentials: Credentials, *, to: str, from_number: str, is_typing: bool) -> None:
        """POST `/api/send-typing-indicator` (documented); without a "stop" the dots vanish after a minute."""
        state = "start" if is_typing else "stop"
        body = {"number": to, "from_number": from_number, "state": state}
        self._minor(credentials, "/api/send-typing-indicator", body)

    def _minor(self, credentials: Credentials, path: str, body: Mapping[str, str]) -> None:
        answer = self._call(credentials, "POST", path, body=body, is_feature=True)
        if isinstance(answer.data, dict) and text(answer.data.get("status"), 32).upper() == "ERROR":
            refused = classify(replace(answer, status=400), hide=(credentials.key_id, credentials.secret))
            raise refused or Rejected("error", "Sendblue answered ERROR.")

    # --- webhooks in --------------------------------------------------------------------------------------------------
    def verify(self, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str]) -> bool:
        """`sb-signing-secret` is the secret itself (documented, seen); `X-Sendblue-Signature` signs time and body.

        The signature is documented for another product of the vendor's. At least one of the two must be there, and
        each that is there must be right: a bad signature is not made good by the other header.
        """
        told, signature = headers.get("sb-signing-secret"), headers.get("x-sendblue-signature")
        checks = []
        if told is not None:
            checks.append(isinstance(told, str) and matches_any(told, secrets))
        if signature is not None:
            checks.append(isinstance(signature, str) and _is_signed(signature, body, secrets))
        return bool(checks) and all(checks)

    def parse(self, body: Any, *, topic: str) -> Parsed:
        """See `sendblue_events.parse`."""
        return parse(body, topic=topic)

    # --- one request --------------------------------------------------------------------------------------------------
    def _call(
        self,
        credentials: Credentials,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        until: float | None = None,
        hide: Sequence[str] = (),
        is_list: bool = False,
        is_feature: bool = False,
        before_first_byte: Callable[[], None] | None = None,
    ) -> Answer:
        """One request with the account's credentials (headers documented); the answer of a readable 2xx.

        A refusal because of pace is Unavailable: nothing was taken on. A refusal that speaks of a blocked line says so;
        no source shows the vendor's own words for that. `is_list`: 404 and 405 are Rejected whatever their body.
        `is_feature`: 402 and 403 are Rejected, because the feature is not switched on and the account still sends.
        """
        headers = {"sb-api-key-id": credentials.key_id, "sb-api-secret-key": credentials.secret}
        answer = self._http.request(
            method, path, headers=headers, body=body, query=query, until=until, before_first_byte=before_first_byte
        )
        error = classify(answer, hide=(*hide, credentials.key_id, credentials.secret))
        if error is None:
            return answer
        if is_list and answer.status in (404, 405):
            raise Rejected(f"http_{answer.status}", "Sendblue does not know this list.")
        if is_feature and answer.status in (402, 403):
            raise Rejected(error.code, error.detail)
        if isinstance(error, AccountRejected):
            error.line_blocked = re.search(r"\bblocked\b", error.detail, re.IGNORECASE) is not None
        elif isinstance(error, Rejected) and error.code in PACE_CODES:
            raise Unavailable(error.code, error.detail, retry_after=answer.retry_after, too_fast=True)
        raise error


def reference_tag(reference: str) -> str:
    """The reference as lower-case letters, digits and hyphens, at most 36; a digest where that would lose something."""
    tag = _NOT_IN_NAMES.sub("-", reference.lower())
    return tag if tag and tag == reference and len(tag) <= 36 else hashlib.sha256(reference.encode()).hexdigest()[:32]


def company_name(business_name: str, tag: str) -> str:
    """A name that Sendblue takes: as much of the business's as fits in ASCII, then the tag that makes it unique."""
    plain = unicodedata.normalize("NFKD", business_name).encode("ascii", "ignore").decode().lower()
    words = _NOT_IN_NAMES.sub("-", plain).strip("-")[: 63 - len(tag)].strip("-") or "business"
    return f"{words}-{tag}"


def _accepted(answer: Answer, hide: Sequence[str]) -> Accepted:
    """What a 2xx answer to a send means; the message object is documented."""
    data = answer.data if isinstance(answer.data, dict) else {}
    message = data if "message_handle" in data or not isinstance(data.get("data"), dict) else data["data"]
    handle = text(message.get("message_handle"), MAX_ID)
    word, code = text(message.get("status"), 32).upper(), error_code(message.get("error_code"))
    if word in ("ERROR", "DECLINED"):
        problem = classify(Answer(400, True, message), hide=hide)
        detail = problem.detail if problem else ""
        if code in PACE_CODES:
            raise Unavailable(code, detail, too_fast=True)
        if word == "DECLINED" or code in ("4000", "4002", "10001"):
            raise Rejected(code or "declined", detail)
        if code != UNRESOLVED_CODE:
            raise Uncertain(code or "error", f"Sendblue answered ERROR: {detail}")
    if not handle:
        raise Uncertain("no_handle", "Sendblue's answer names no message.")
    return Accepted(handle, text(message.get("from_number"), 64) or None, service_of(message))


def _could_be(message: Mapping[Any, Any], sought: Sought, oldest: float) -> bool:
    sent_at = moment(message.get("date_sent"))
    lines = {line for key in ("sendblue_number", "from_number") if (line := text(message.get(key), 64))}
    return (
        message.get("is_outbound") is True
        and bool(text(message.get("message_handle"), MAX_ID))
        and sought.to in (message.get("number"), message.get("to_number"))
        and lines == {sought.from_number}
        and (message.get("content") or "") == sought.text
        and (message.get("media_url") or None) == (sought.media_url or None)
        and sent_at is not None
        and sent_at.timestamp() >= oldest
    )


def _is_signed(signature: str, body: bytes, secrets: Sequence[str]) -> bool:
    """`t=<seconds>,v1=<hex HMAC-SHA256 of "t.body">`, at most five minutes old or early."""
    parts = [part.strip().partition("=")[::2] for part in signature[:1000].split(",")]
    stamps = [value for key, value in parts if key == "t"]
    if len(stamps) != 1 or not re.fullmatch(r"[0-9]{1,12}", stamps[0]):
        return False
    signed = stamps[0].encode() + b"." + body
    expected = [
        hmac.new(secret.encode("utf-8", "surrogatepass"), signed, hashlib.sha256).hexdigest()
        for secret in secrets
        if secret
    ]
    # Every candidate is compared, whatever the time says: how long it takes tells nothing.
    given = [matches_any(value, expected) for key, value in parts if key == "v1"]
    return any(given) and abs(time.time() - int(stamps[0])) <= SIGNATURE_TOLERANCE_S
