"""The faults of the sandbox: one table for recipients' numbers, one for area codes, and what tests set by hand.

A recipient of the form +1 AAA 555 NNNN chooses a fault by its last four digits; every other number is served well, so a
trainee's own number never trips over one by chance. The area code wished for a new line chooses how the line is placed.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Answer = Literal[
    "ok", "hang", "refuse", "reset", "close", "garbage", "truncated", "other_from", "redirect", "drip", "oversize",
    "no_handle", "after_callbacks",
]  # fmt: skip
Placing = Literal["manual", "at_once", "timer", "never"]
Notice = Literal["once", "twice", "none", "odd", "contradicted", "forged"]

_MAGIC_NUMBER = re.compile(r"\+1\d{3}555(\d{4})")


@dataclass(frozen=True, slots=True)
class Step:
    """One status the message takes on; `wait` counts in the sandbox's delivery delays, from the step before."""

    status: str
    wait: float = 1.0
    error_code: int | None = None
    error_message: str | None = None
    copies: int = 1


SENT_DELIVERED = (Step("SENT"), Step("DELIVERED"))
_UNDELIVERED = (Step("ERROR", error_code=10001, error_message="Message failed to send"),)
_UNRESOLVED = (Step("SENT"), Step("ERROR", error_code=10002, error_message="Failed to resolve message status"))
_REVOKED = (*SENT_DELIVERED, Step("ERROR", error_code=10001, error_message="Message failed to send"))


@dataclass(frozen=True, slots=True)
class SendFault:
    """What happens to one send.

    `accepted` tells whether the message is taken on (it then stands in the ledger); `status` and `error` are the answer
    of a refusal; `times` limits a refusal to the first sends to that number; `late` puts `Faults.late_s` before the
    first status; `plan` lists the statuses that follow an accepted message.
    """

    name: str
    digits: str
    group: str
    label: str
    effect: str
    accepted: bool = True
    answer: Answer = "ok"
    status: int = 200
    error: str = ""
    retry_after: bool = False
    times: int | None = None
    plan: tuple[Step, ...] = SENT_DELIVERED
    sms: bool = False
    late: bool = False
    silent: bool = False


@dataclass(frozen=True, slots=True)
class LineFault:
    """How a new line is placed when its area code is wished for; `answer` is what the creating request gets."""

    name: str
    area_code: str
    label: str
    effect: str
    answer: Answer = "ok"
    status: int = 200
    error: str = ""
    created: bool = True
    placing: Placing = "timer"
    notice: Notice = "once"
    line_part: bool = True
    blocked: bool = False


_LOST, _REFUSED, _ODD, _AFTER = "Answer lost", "Refused", "Odd answer", "After acceptance"

SEND_FAULTS: tuple[SendFault, ...] = (
    SendFault("timeout_sent", "9001", _LOST, "Timeout, yet sent", "Taken on and delivered; the answer hangs.",
              answer="hang"),
    SendFault("timeout_not_sent", "9002", _LOST, "Timeout, not sent", "The request hangs; nothing is taken on.",
              accepted=False, answer="hang", status=504, error="Gateway timeout"),
    SendFault("reset_before", "9003", _LOST, "Reset, not sent", "Connection reset before the message is taken on.",
              accepted=False, answer="reset"),
    SendFault("reset_after", "9004", _LOST, "Reset, yet sent", "Taken on, then the connection is reset.",
              answer="reset"),
    SendFault("closed_after", "9005", _LOST, "Closed, yet sent", "Taken on, then closed without a byte of answer.",
              answer="close"),
    SendFault("drip", "9006", _LOST, "Slow drip", "Taken on; one header line every half second, for a long time.",
              answer="drip"),
    SendFault("error_500_after", "9007", _LOST, "500, yet sent", "Taken on, then answered 500.",
              answer="refuse", status=500, error="Internal server error"),
    SendFault("reset_untold", "9008", _LOST, "Reset, yet sent, untold", "Taken on, then reset; no status follows.",
              answer="reset", silent=True),
    SendFault("rate_limited", "9011", _REFUSED, "429 with Retry-After", "Every send is refused; nothing is taken on.",
              accepted=False, answer="refuse", status=429, error="Rate limit exceeded", retry_after=True),
    SendFault("rate_limited_bare", "9012", _REFUSED, "429 without Retry-After", "Every send is refused, no hint when.",
              accepted=False, answer="refuse", status=429, error="Rate limit exceeded"),
    SendFault("rate_limited_twice", "9013", _REFUSED, "429 twice, then fine", "The first two sends get 429.",
              accepted=False, answer="refuse", status=429, error="Rate limit exceeded", retry_after=True, times=2),
    SendFault("error_500_before", "9014", _REFUSED, "500, not sent", "Answered 500; nothing is taken on.",
              accepted=False, answer="refuse", status=500, error="Internal server error"),
    SendFault("unavailable_503", "9015", _REFUSED, "503, not sent", "Answered 503; nothing is taken on.",
              accepted=False, answer="refuse", status=503, error="Service unavailable"),
    SendFault("invalid_number", "9016", _REFUSED, "400 invalid number", "The recipient is refused for good.",
              accepted=False, answer="refuse", status=400, error="You must specify a valid 'number'"),
    SendFault("unauthorized", "9017", _REFUSED, "401 on send", "The credentials are refused for this send.",
              accepted=False, answer="refuse", status=401, error="Invalid Credentials"),
    SendFault("payment_required", "9018", _REFUSED, "402 on send", "The account has to be paid first.",
              accepted=False, answer="refuse", status=402, error="Payment required"),
    SendFault("line_blocked", "9019", _REFUSED, "403 line blocked", "The sending line is said to be blocked.",
              accepted=False, answer="refuse", status=403, error="This line has been blocked"),
    SendFault("garbage", "9021", _ODD, "200 with garbage", "Taken on; the body of the answer isn't JSON.",
              answer="garbage"),
    SendFault("truncated", "9022", _ODD, "200 cut short", "Taken on; half of the promised body, then the end.",
              answer="truncated"),
    SendFault("oversize", "9023", _ODD, "200 of 4 MiB", "Taken on; the answer is far too long.", answer="oversize"),
    SendFault("no_handle", "9024", _ODD, "200 without a handle", "Taken on; the answer names no message.",
              answer="no_handle"),
    SendFault("other_from", "9025", _ODD, "Another from-number", "Sent from another number than asked for.",
              answer="other_from"),
    SendFault("redirect_307", "9026", _ODD, "307 redirect", "Not taken on; the answer points to another address.",
              accepted=False, answer="redirect", status=307),
    SendFault("undelivered", "9031", _AFTER, "Undelivered (10001)", "Fails after it was taken on: ERROR 10001.",
              plan=_UNDELIVERED),
    SendFault("unresolved", "9032", _AFTER, "Fate unknown (10002)", "SENT, then ERROR 10002.", plan=_UNRESOLVED),
    SendFault("declined", "9033", _AFTER, "Declined", "The network declines it.", plan=(Step("DECLINED"),)),
    SendFault("delivered_then_failed", "9034", _AFTER, "Delivered, then failed", "Two facts that contradict.",
              plan=_REVOKED),
    SendFault("sms", "9035", _AFTER, "Goes as SMS", "Downgraded; SENT is the last status.", plan=(Step("SENT"),),
              sms=True),
    SendFault("sent_only", "9036", _AFTER, "Never delivered", "SENT, and then nothing: the phone is off.",
              plan=(Step("SENT"),)),
    SendFault("read", "9037", _AFTER, "Read by itself", "SENT, DELIVERED, READ.", plan=(*SENT_DELIVERED, Step("READ"))),
    SendFault("duplicated", "9041", _AFTER, "Callbacks doubled", "Every status comes three times.",
              plan=(Step("SENT", copies=3), Step("DELIVERED", copies=3))),
    SendFault("reordered", "9042", _AFTER, "Callbacks reordered", "DELIVERED comes before SENT.",
              plan=(Step("DELIVERED"), Step("SENT"))),
    SendFault("late", "9043", _AFTER, "Callbacks late", "The first status comes after half a minute.", late=True),
    SendFault("early", "9044", _AFTER, "Callback before the answer", "The statuses arrive before the answer does.",
              answer="after_callbacks", plan=(Step("SENT", wait=0), Step("DELIVERED", wait=0))),
    SendFault("silent", "9045", _AFTER, "No callbacks", "Delivered, but only a look-up tells.", silent=True),
)  # fmt: skip

LINE_FAULTS: tuple[LineFault, ...] = (
    LineFault("at_once", "290", "Placed at once", "The answer already carries the number.", placing="at_once"),
    LineFault("placed_soon", "291", "Placed after 3 seconds", "Pending first; line_assigned follows."),
    LineFault("never_placed", "292", "Never placed", "Stays pending unless a person places it here.",
              placing="never"),
    LineFault("answer_reset", "293", "Answer lost: reset", "Created, but the credentials never arrive.",
              answer="reset"),
    LineFault("answer_timeout", "294", "Answer lost: timeout", "Created; the answer hangs.", answer="hang"),
    LineFault("refused", "295", "Refused: 400", "Nothing is created.", answer="refuse", status=400,
              error="No numbers available for the desired area code", created=False),
    LineFault("notice_twice", "296", "Notice doubled", "line_assigned comes three times at the same moment.",
              notice="twice"),
    LineFault("notice_none", "297", "No notice", "Placed after 3 seconds; only the list of lines shows it.",
              notice="none"),
    LineFault("notice_odd", "298", "Notice of an odd shape", "line_assigned with quite other keys.", notice="odd"),
    LineFault("no_line_part", "299", "Answer without a line part", "The answer doesn't mention the line at all.",
              line_part=False),
    LineFault("error_500_after", "390", "500, yet created", "Created, but answered 500.", answer="refuse", status=500,
              error="Internal server error"),
    LineFault("garbage", "391", "200 with garbage", "Created; the answer isn't JSON.", answer="garbage"),
    LineFault("rate_limited", "392", "429 on creation", "Nothing is created.", answer="refuse", status=429,
              error="Rate limit exceeded", created=False),
    LineFault("blocked_soon", "393", "Placed, then blocked", "line_assigned, then line_blocked.", blocked=True),
    LineFault("second_number", "394", "Second number announced", "A later notice names a number that isn't held.",
              notice="contradicted"),
    LineFault("false_notice", "395", "False notice", "A notice comes, but no line was placed.", placing="never",
              notice="forged"),
)  # fmt: skip

_BY_DIGITS = {fault.digits: fault for fault in SEND_FAULTS}
_BY_NAME = {fault.name: fault for fault in SEND_FAULTS}
_LINE_BY_AREA = {fault.area_code: fault for fault in LINE_FAULTS}


def magic_number(name: str, *, area_code: str = "212") -> str:
    """A recipient's number, valid in the United States, that chooses the named send fault; KeyError if unknown."""
    return f"+1{area_code}555{_BY_NAME[name].digits}"


def magic_area_code(name: str) -> str:
    """The area code that chooses the named line fault; KeyError if unknown."""
    return next(fault.area_code for fault in LINE_FAULTS if fault.name == name)


def send_fault(name: str | None) -> SendFault | None:
    """The send fault of that name; None for None."""
    return _BY_NAME[name] if name else None


def line_fault(area_code: str | None) -> LineFault | None:
    """The line fault behind a wished area code; None for an ordinary one."""
    return _LINE_BY_AREA.get(area_code or "")


@dataclass(slots=True)
class Faults:
    """Which fault the next send meets, and how long the slow ones last. Safe to use from several threads.

    A send is matched with, in this order: the number set by hand, the queue of `next_sends`, the `mix`, and the magic
    last four digits. `seconds` fields: `hang_s` how long a hanging or dripping answer lasts, `late_s` the wait
    before late callbacks, `place_after_s` the wait of timed lines, `retry_after_s` the value of Retry-After.
    """

    hang_s: float = 20.0
    late_s: float = 30.0
    place_after_s: float = 3.0
    retry_after_s: int = 2
    _by_number: dict[str, SendFault | None] = field(default_factory=dict)
    _queue: deque[SendFault] = field(default_factory=deque)
    _mix: list[tuple[float, SendFault]] = field(default_factory=list)
    _seed: int = 0
    _tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    _met: Counter[tuple[str, str]] = field(default_factory=Counter)
    _landed: Counter[str] = field(default_factory=Counter)
    _endpoints: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set_for(self, number: str, name: str | None) -> None:
        """Every send to `number` meets the named fault; None means none, whatever its digits. KeyError if unknown."""
        with self._lock:
            self._by_number[number] = _BY_NAME[name] if name else None

    def next_sends(self, name: str, *, times: int = 1) -> None:
        """The next `times` sends, to whatever number, meet the named fault. KeyError if unknown."""
        with self._lock:
            self._queue.extend([_BY_NAME[name]] * times)

    def mix(self, shares: Mapping[str, float], *, seed: int) -> None:
        """Each send meets fault `name` with probability `shares[name]`. KeyError if unknown.

        Which one is decided by `seed`, number, content and how often that came before: whatever the order in which
        many senders come, the same message meets the same faults.
        """
        with self._lock:
            self._mix = [(share, _BY_NAME[name]) for name, share in shares.items()]
            self._seed = seed

    def fail_endpoint(self, method: str, path: str, status: int, *, times: int = 1) -> None:
        """The next `times` requests to an endpoint, as `GET` and `/api/lines`, are answered `status` and do nothing."""
        with self._lock:
            self._endpoints.setdefault((method, path), []).extend([status] * times)

    def clear(self) -> None:
        """Forget everything set by hand and the counts; the durations stay."""
        with self._lock:
            for kept in (
                self._by_number, self._queue, self._mix, self._tries, self._met, self._landed, self._endpoints,
            ):  # fmt: skip
                kept.clear()

    def landed(self) -> Counter[str]:
        """How many times each send fault has struck so far, by name."""
        with self._lock:
            return Counter(self._landed)

    def endpoint_status(self, method: str, path: str) -> int | None:
        """The status a request has to be refused with, taken off the list; None when there is none."""
        if not self._endpoints:
            return None
        with self._lock:
            waiting = self._endpoints.get((method, path))
            return waiting.pop(0) if waiting else None

    def for_send(self, number: str, content: str = "") -> SendFault | None:
        """The fault that this send to `number` meets; None when all goes well. Counts it as landed."""
        with self._lock:
            fault = self._choose(number, content)
            if fault is None:
                return None
            met = self._met[number, fault.name] = self._met[number, fault.name] + 1
            if fault.times is not None and met > fault.times:
                return None
            self._landed[fault.name] += 1
            return fault

    def _choose(self, number: str, content: str) -> SendFault | None:
        if number in self._by_number:
            return self._by_number[number]
        if self._queue:
            return self._queue.popleft()
        if self._mix:
            self._tries[number, content] += 1
            drawn = f"{self._seed} {number} {content} {self._tries[number, content]}"
            point = random.Random(drawn).random()  # noqa: S311 - chooses faults, guards nothing
            for share, fault in self._mix:
                point -= share
                if point < 0:
                    return fault
        return by_digits(number)


def by_digits(number: str) -> SendFault | None:
    """The fault that the last four digits of a +1 AAA 555 NNNN number choose; None for all others."""
    match = _MAGIC_NUMBER.fullmatch(number)
    return _BY_DIGITS.get(match.group(1)) if match else None
