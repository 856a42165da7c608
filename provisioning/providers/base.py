"""What the hub asks of a provider, and what a provider may answer: one small contract, plain values in and out.

An adapter sees no model, no setting and no signal. Every call either returns or raises one of three errors, and the
error says what may have happened: `Rejected` (no), `Unavailable` (surely nothing), `Uncertain` (perhaps).
"""

import enum
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar


class ProviderError(Exception):
    """A provider call that did not return. `code` is stable, `detail` for people; neither holds a secret or a text."""

    is_refusal = False
    """Whether the provider understood and said no."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Rejected(ProviderError):
    """The provider said no; the same request will never be accepted."""

    is_refusal = True


class AccountRejected(Rejected):
    """The provider said no because of the account (credentials, payment, blocked line): the account stops.

    `line_blocked` tells that the line is at fault and not the credentials; `payment_required` that the credentials are
    right, but the account there has to be paid.
    """

    def __init__(self, code: str, detail: str, *, line_blocked: bool = False, payment_required: bool = False) -> None:
        super().__init__(code, detail)
        self.line_blocked = line_blocked
        self.payment_required = payment_required


class Unavailable(ProviderError):
    """Surely nothing happened there. `retry_after` is the provider's own wish; None when it has none.

    `too_fast`: the provider is well, and asks for fewer messages from this line.
    """

    def __init__(self, code: str, detail: str, *, retry_after: timedelta | None = None, too_fast: bool = False) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
        self.too_fast = too_fast


class Uncertain(ProviderError):
    """It may have happened there."""


class Capability(enum.Flag):
    """What a provider can do."""

    NONE = 0
    CREATE_SUBACCOUNT = enum.auto()
    IDEMPOTENT_SEND = enum.auto()
    """Sending twice with one key sends once."""
    CALLBACK_URL = enum.auto()
    """Each send may name a URL of its own for its statuses; a callback there proves that very attempt."""
    LOOKUP = enum.auto()
    MARK_READ = enum.auto()
    TYPING = enum.auto()


class Health(enum.StrEnum):
    """How a line does at the provider."""

    UNKNOWN = "unknown"
    """Not told, or not readable just now: what was known before still holds."""
    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Pace:
    """What one line may bear. `per_second`: messages, on the long run; `burst`: how many of them at once after a rest.

    A contact is new to a line that had no conversation with it within `new_after`; of such there are at most
    `new_contacts_per_hour` and `new_contacts_per_day`, each over the hour or day that ends now. None: no limit.
    """

    per_second: float = 1.0
    burst: int = 1
    new_contacts_per_hour: int | None = None
    new_contacts_per_day: int | None = None
    new_after: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens an account at a provider. Never printed."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """A phone line as the provider lists it; `phone_number` is as the provider wrote it, not checked."""

    phone_number: str
    health: Health = Health.UNKNOWN


@dataclass(frozen=True, slots=True)
class NewSubaccount:
    """What is asked for: `reference` is ours, unique per setup, so that people can find the account at the provider."""

    business_name: str
    reference: str
    area_code: str | None = None


@dataclass(frozen=True, slots=True)
class Subaccount:
    """What was created. `lines` are those with a number at once; `request_id` names the line that is still to come."""

    credentials: Credentials
    lines: tuple[Line, ...] = ()
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send. Exactly one of `text` and `media_url` may be empty.

    `callback_url`: where this attempt's statuses go; None where the provider has no such thing.
    `idempotency_key`: the same for every attempt of one message.
    """

    to: str
    from_number: str
    text: str = field(repr=False)
    idempotency_key: str
    media_url: str | None = field(default=None, repr=False)
    send_style: str | None = None
    callback_url: str | None = field(default=None, repr=False)


class FactKind(enum.StrEnum):
    """What a provider may say of a message that it took."""

    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A word we do not know, or one that says the provider does not know; kept, and changes nothing."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message. `from_number` is the one it says it used; None when it does not say."""

    provider_id: str
    from_number: str | None = None
    service: str = ""


@dataclass(frozen=True, slots=True)
class Sought:
    """A message whose outcome is unknown, as a provider can be asked for it."""

    to: str
    from_number: str
    text: str = field(repr=False)
    media_url: str | None = field(repr=False)
    not_before: datetime


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """Something became known of a message we sent. `fact` FAILED carries the provider's code and words."""

    provider_id: str
    fact: FactKind
    at: datetime | None = None
    code: str = ""
    detail: str = ""
    service: str = ""
    raw_status: str = ""


@dataclass(frozen=True, slots=True)
class InboundEvent:
    """A customer wrote. Numbers are as the provider wrote them, not checked; `line_number` is ours."""

    provider_id: str
    from_number: str
    line_number: str
    text: str = field(repr=False)
    media_urls: tuple[str, ...] = field(default=(), repr=False)
    at: datetime | None = None
    service: str = ""
    group_id: str = ""
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class TypingEvent:
    """A customer began or stopped typing."""

    from_number: str
    line_number: str
    is_typing: bool
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LineHint:
    """Something about lines changed; the lines are to be read with the account's own credentials.

    `blocked_number` is set when the provider says that this number was blocked, which reading may not show;
    `assigned_number` is the one a notice of a new number names, which only the reading can confirm.
    """

    blocked_number: str | None = None
    assigned_number: str | None = None


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """A shape or type we do not know; kept raw."""

    type: str


Event = StatusEvent | InboundEvent | TypingEvent | LineHint | UnknownEvent


@dataclass(frozen=True, slots=True)
class Parsed:
    """One webhook body, understood. `dedup_key` is equal for every delivery of the same event, at most 200 characters;
    `type` is the provider's own word for it, at most 64."""

    type: str
    dedup_key: str
    events: tuple[Event, ...]


class Adapter(ABC):
    """One provider. Stateless but for its connections; safe to use from several threads."""

    name: ClassVar[str]
    label: ClassVar[str]
    capabilities: ClassVar[Capability]
    pace: Pace = Pace()
    """What each of its lines may bear, unless the line itself has limits of its own."""

    @abstractmethod
    def create_subaccount(self, wanted: NewSubaccount) -> Subaccount:
        """Create an account under the operator's own; called once, never repeated by anybody but a person.

        Raises Rejected, Unavailable, Uncertain; also Rejected("not_configured") when the operator's credentials are
        missing, and Rejected("not_supported") without Capability.CREATE_SUBACCOUNT.
        """

    @abstractmethod
    def list_lines(self, credentials: Credentials) -> Sequence[Line]:
        """The account's lines that have a number. Raises the three errors."""

    @abstractmethod
    def register_webhooks(self, credentials: Credentials, *, url: str, secret: str) -> None:
        """Have the account's events sent to `url` with `secret`; what is there under the same URL path is replaced.

        Safe to repeat. Raises the three errors.
        """

    @abstractmethod
    def send(
        self, credentials: Credentials, message: Outgoing, *, before_first_byte: Callable[[], None] | None = None
    ) -> Accepted:
        """Send one message, once, within one total deadline.

        `before_first_byte` is called when the connection stands, immediately before anything is written; what it raises
        comes out, and nothing was sent. Raises the three errors.
        """

    @abstractmethod
    def lookup(self, credentials: Credentials, sought: Sought) -> Sequence[Accepted]:
        """Messages at the provider that could be the sought one; several cannot be told apart. May confirm; an empty
        answer proves nothing. Raises the three errors."""

    @abstractmethod
    def mark_read(self, credentials: Credentials, *, to: str, from_number: str) -> None:
        """Tell the customer `to` that the line `from_number` has read. Raises the three errors."""

    @abstractmethod
    def typing(self, credentials: Credentials, *, to: str, from_number: str, is_typing: bool) -> None:
        """Show or hide the typing dots of `from_number` at the customer `to`. Raises the three errors."""

    @abstractmethod
    def verify(self, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str]) -> bool:
        """Whether a webhook was sent by someone who holds one of the secrets.

        On the raw bytes, in constant time over all the secrets, before anything is parsed. No secret: False. Header
        names are lower case. Never raises.
        """

    @abstractmethod
    def parse(self, body: Any, *, topic: str) -> Parsed:
        """What a verified webhook says. `body` is the decoded JSON, of any type; `topic` is the event type its URL was
        registered for, "" when there was none. Never raises: what it does not know is an UnknownEvent."""


def matches_any(given: str | None, secrets: Sequence[str]) -> bool:
    """Whether `given` is one of the secrets: constant time, every candidate compared, empty ones never match."""
    found = False
    for secret in secrets:
        expected = secret.encode("utf-8", "surrogatepass")
        equal = hmac.compare_digest((given or "").encode("utf-8", "surrogatepass"), expected)
        found |= equal and bool(secret) and bool(given)
    return found
