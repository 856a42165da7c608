"""The emulated phone network: takes messages on, moves their statuses, places lines, lets customers act."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from . import bodies
from .area_codes import next_number, number_prefix, unheld_number
from .faults import SENT_DELIVERED, Faults, LineFault, SendFault, Step, line_fault, send_fault
from .store import Account, Line, Message, Store, Webhook
from .webhooks import Delivery, WebhookSender
from .wire import SandboxError

LinePart = Literal["assigned_number", "omitted"]
LineNotice = Literal["plain", "odd"]

TAPBACKS = {
    "love": "Loved",
    "like": "Liked",
    "dislike": "Disliked",
    "laugh": "Laughed at",
    "emphasize": "Emphasized",
    "question": "Questioned",
}
_RANK = {"QUEUED": 0, "SENT": 1, "DELIVERED": 2, "READ": 3, "ERROR": 4, "DECLINED": 4}
_LINE_STATUSES = ("ONLINE", "OFFLINE", "DEGRADED", "BLOCKED")
_RESUME_WITHIN_S = 24 * 3600
_TYPING_LASTS_S = 60.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the emulated provider behaves when no fault is asked for.

    `delivery_delay_s` lies before SENT and again before DELIVERED; `line_delay_s` None leaves ordinary lines pending
    until a person places them; `line_part` whether the creation answer has "assigned_number" (our invention: every
    copy of the vendor's page is cut there); `line_notice` the shape of line_assigned; `allow_typing_webhook` accepts
    registrations of typing_indicator, which the vendor documents but was seen to refuse; `answer_delay_s` is what a
    send takes, from its acceptance to the answer.
    """

    delivery_delay_s: float = 0.2
    line_delay_s: float | None = None
    line_part: LinePart = "assigned_number"
    line_notice: LineNotice = "plain"
    allow_typing_webhook: bool = False
    answer_delay_s: float = 0.0


class Network:
    """What happens between the provider's API and the phones; safe to call from several threads."""

    def __init__(self, store: Store, sender: WebhookSender, faults: Faults, behaviour: Behaviour) -> None:
        self.store, self.sender, self.faults, self.behaviour = store, sender, faults, behaviour
        self._typing: dict[tuple[str, str, str], float] = {}

    def resume(self) -> None:
        """Take up what a stopped sandbox left in the file: statuses still to come, lines still to be placed."""
        now = time.time()
        waiting = self.store.messages(
            "is_outbound = 1 AND status IN ('QUEUED', 'SENT') AND service = 'iMessage' AND created_at > ?",
            (now - _RESUME_WITHIN_S,),
        )
        for message in waiting:
            line = self.store.line(number=message.line)
            if line is None or line.status != "OFFLINE":
                self._plan(message, send_fault(message.fault))
        for pending in self.store.lines():
            if pending.place_at is not None:
                self._place_later(pending, pending.place_at - now)

    # Messages out

    def accept(
        self, account: Account, line: Line, *, number: str, content: str, media_url: str, send_style: str,
        status_callback: str, fault: SendFault | None,
    ) -> Message:  # fmt: skip
        """Take a send on: from here it stands in the ledger, and its statuses follow by themselves."""
        held = line.number or ""
        shown_from = self._other_number(account, held) if fault and fault.answer == "other_from" else None
        message = self.store.add_message(
            account_id=account.id, line=held, number=number, is_outbound=True, content=content, media_url=media_url,
            send_style=send_style, status="QUEUED", status_callback=status_callback, shown_from=shown_from,
            fault=fault.name if fault else None,
        )  # fmt: skip
        if line.status != "OFFLINE":
            self._plan(message, fault)
        return message

    def _other_number(self, account: Account, number: str) -> str:
        others = [line.number for line in self.store.lines(account_id=account.id) if line.number not in (None, number)]
        prefix = number[:8]
        return others[0] or number if others else unheld_number(prefix, self.store.taken_numbers(prefix))

    def _plan(self, message: Message, fault: SendFault | None) -> None:
        steps = fault.plan if fault else SENT_DELIVERED
        if message.status != "QUEUED":
            steps = tuple(step for step in steps if _RANK[step.status] > _RANK[message.status])
        extra_s = self.faults.late_s if fault and fault.late else 0.0
        self._schedule_step(message.handle, steps, fault, extra_s)

    def _schedule_step(self, handle: str, steps: tuple[Step, ...], fault: SendFault | None, extra_s: float) -> None:
        if steps:
            wait_s = extra_s + steps[0].wait * self.behaviour.delivery_delay_s
            self.sender.schedule(wait_s, lambda: self._take_step(handle, steps, fault), lane=handle)

    def _take_step(self, handle: str, steps: tuple[Step, ...], fault: SendFault | None) -> None:
        step = steps[0]
        message = self.store.message(handle)
        if message is None:
            return
        if _RANK[step.status] >= _RANK[message.status]:
            sms = fault is not None and fault.sms
            updated = self.store.update_message(
                handle, status=step.status, error_code=step.error_code, error_message=step.error_message,
                was_downgraded=sms, service="SMS" if sms else "iMessage",
                read_at=time.time() if step.status == "READ" else message.read_at,
            )  # fmt: skip
            message = updated or message
        else:  # told too late: the status stands, the notice carries the earlier moment
            message = replace(message, status=step.status, updated_at=message.created_at)
        if not (fault and fault.silent):
            for _ in range(step.copies):
                self._tell_status(message)
        self._schedule_step(handle, steps[1:], fault, 0)

    def _tell_status(self, message: Message) -> None:
        account = self.store.account(message.account_id)
        body = bodies.message_object(message, account)
        summary = message.status
        if message.status_callback:
            raw = json.dumps(body).encode()
            self.sender.post(
                Delivery(message.handle, "status_callback", message.status_callback, None, raw, summary, account.id)
            )
        self._notify(account, "outbound", body, lane=message.handle, summary=summary)

    def _notify(self, account: Account, kind: str, body: dict[str, Any], *, lane: str, summary: str) -> None:
        hooks: list[Webhook] = self.store.webhooks(account.id, kind)
        raw = json.dumps(body).encode() if hooks else b""
        for hook in hooks:
            secret = hook.secret or account.global_secret
            self.sender.post(Delivery(lane, kind, hook.url, secret, raw, summary, account.id))

    # What customers do

    def _line(self, number: str) -> Line:
        line = self.store.line(number=number)
        if line is None:
            raise SandboxError("unknown_line", "No line has this number.", 404)
        return line

    def reply(
        self, *, from_number: str, to_number: str, text: str, media_url: str = "", tapback_of: str | None = None
    ) -> Message:
        """A customer writes to a line. SandboxError when no line has the number or there is nothing to say."""
        line = self._line(to_number)
        if not text and not media_url:
            raise SandboxError("empty", "A message needs a text or a picture.")
        message = self.store.add_message(
            account_id=line.account_id, line=to_number, number=from_number, is_outbound=False, content=text,
            media_url=media_url, status="RECEIVED", tapback_of=tapback_of,
        )  # fmt: skip
        self.set_typing(line=to_number, customer=from_number, who="customer", lasts_s=0)
        account = self.store.account(line.account_id)
        body = bodies.message_object(message, account)
        self._notify(
            account, "receive", body, lane=f"{to_number}{from_number}", summary=f"RECEIVED {message.handle[:8]}"
        )
        return message

    def react(self, handle: str, reaction: str) -> Message:
        """A customer puts a tapback on a message; the hub gets it as a plain text, as from the real provider.

        The text is sent as a new inbound message, which is returned.
        """
        message = self._message(handle)
        if reaction not in TAPBACKS:
            raise SandboxError("unknown_reaction", f"Reaction must be one of: {', '.join(TAPBACKS)}.")
        if not message.is_outbound:
            raise SandboxError("own_message", "A customer reacts to messages of the line only.")
        self.store.update_message(handle, reaction=reaction)
        what = f"“{message.content}”" if message.content else "an image"
        return self.reply(
            from_number=message.number, to_number=message.line, text=f"{TAPBACKS[reaction]} {what}", tapback_of=handle
        )

    def mark_read(self, handle: str) -> Message:
        """A customer reads one delivered message: status READ, told like any other status.

        The vendor's documents of 2025 name READ, its type list of 2026 doesn't: nobody has seen it arrive lately.
        The sandbox offers it so that read marks can be shown and tested.
        """
        message = self._message(handle)
        if not message.is_outbound or message.status not in ("DELIVERED", "READ"):
            raise SandboxError("not_delivered", "Only a delivered message of the line can be read.", 409)
        read = self.store.update_message(handle, status="READ", read_at=time.time()) or message
        self._tell_status(read)
        return read

    def read_conversation(self, *, line: str, customer: str) -> int:
        """The customer reads everything delivered so far; how many messages that were."""
        unread = self.store.messages(
            "line = ? AND number = ? AND is_outbound = 1 AND status = 'DELIVERED'", (line, customer)
        )
        for message in unread:
            self.mark_read(message.handle)
        return len(unread)

    def _message(self, handle: str) -> Message:
        message = self.store.message(handle)
        if message is None:
            raise SandboxError("unknown_message", "No message has this handle.", 404)
        return message

    def set_typing(self, *, line: str, customer: str, who: str, lasts_s: float = _TYPING_LASTS_S) -> None:
        """Show typing dots of `who` ("customer" or "business") for so long; 0 takes them away."""
        key = (line, customer, who)
        with self.store.writing():
            shown = self._typing.pop(key, 0) > time.time()
            if lasts_s:
                self._typing[key] = time.time() + lasts_s
        if lasts_s or shown:
            self.store.touch()

    def customer_types(self, *, from_number: str, to_number: str, typing: bool = True) -> None:
        """A customer starts or stops typing: dots on the page, and a webhook to who could register for it."""
        line = self._line(to_number)
        self.set_typing(line=to_number, customer=from_number, who="customer", lasts_s=_TYPING_LASTS_S if typing else 0)
        body = {
            "number": from_number,
            "from_number": from_number,
            "is_typing": typing,
            "timestamp": bodies.iso(time.time()),
        }
        account = self.store.account(line.account_id)
        self._notify(account, "typing_indicator", body, lane=f"{to_number}{from_number}", summary="typing")

    def typing_now(self) -> list[dict[str, Any]]:
        """Who types at this moment, with the seconds left."""
        now = time.time()
        with self.store.writing():
            self._typing = {key: until for key, until in self._typing.items() if until > now}
            return [
                {"line": line, "customer": customer, "who": who, "left_s": round(until - now, 1)}
                for (line, customer, who), until in self._typing.items()
            ]

    # Lines

    def request_line(self, account: Account, area_code: str | None) -> Line:
        """A new line, placed as its area code asks for; the returned one may be placed already."""
        rule = line_fault(area_code)
        delay_s = self._placing_delay(rule)
        place_at = None if delay_s is None else time.time() + delay_s
        line = self.store.add_line(account.id, area_code=area_code, place_at=place_at)
        if rule and rule.placing == "at_once":
            return self.place(line)
        if delay_s is not None:
            self._place_later(line, delay_s)
        if rule and rule.notice == "forged":
            number = self._unheld(line)
            self.sender.schedule(self.faults.place_after_s, lambda: self._tell_assigned(line, number, "plain"))
        return line

    def _placing_delay(self, rule: LineFault | None) -> float | None:
        if rule is None or rule.placing == "manual":
            return self.behaviour.line_delay_s
        return self.faults.place_after_s if rule.placing == "timer" else None

    def _place_later(self, line: Line, delay_s: float) -> None:
        def place() -> None:
            current = self.store.line(request_id=line.request_id)
            if current and current.number is None:
                self.place(current)

        self.sender.schedule(max(delay_s, 0), place)

    def place(self, line: Line, number: str | None = None) -> Line:
        """Give a pending line its number and tell the account. SandboxError when it has one or the number is taken."""
        rule = line_fault(line.area_code)
        prefix = number_prefix(line.area_code)
        try:
            with self.store.writing():
                chosen = number or next_number(prefix, self.store.taken_numbers(prefix))
                placed = self.store.assign_number(line.request_id, chosen)
        except sqlite3.IntegrityError:
            raise SandboxError("number_taken", "Another line has this number.", 409) from None
        if placed is None:
            raise SandboxError("already_placed", "This line has its number already.", 409)
        self._announce(placed, chosen, rule)
        return placed

    def _announce(self, line: Line, number: str, rule: LineFault | None) -> None:
        notice = rule.notice if rule else "once"
        shape: LineNotice = "odd" if notice == "odd" else self.behaviour.line_notice
        copies = {"none": 0, "twice": 3}.get(notice, 1)
        for copy in range(copies):
            self._tell_assigned(line, number, shape, copy=copy)
        if notice == "contradicted":
            other = self._unheld(line)
            self.sender.schedule(self.faults.place_after_s, lambda: self._tell_assigned(line, other, shape))
        if rule and rule.blocked:
            self.sender.schedule(self.faults.place_after_s, lambda: self._block(number))

    def _block(self, number: str) -> None:
        self.set_line_status(number, "BLOCKED")

    def _unheld(self, line: Line) -> str:
        prefix = number_prefix(line.area_code)
        return unheld_number(prefix, self.store.taken_numbers(prefix))

    def _tell_assigned(self, line: Line, number: str, shape: LineNotice, *, copy: int = 0) -> None:
        account = self.store.account(line.account_id)
        odd = shape == "odd"
        body = bodies.odd_line_assigned(number, time.time()) if odd else bodies.line_assigned(number, account)
        self._notify(account, "line_assigned", body, lane=f"{line.request_id}{copy}", summary=number)

    def set_line_status(self, number: str, status: str) -> Line:
        """Put a line ONLINE, OFFLINE, DEGRADED or BLOCKED; messages held while OFFLINE go on when it is back."""
        if status not in _LINE_STATUSES:
            raise SandboxError("unknown_status", f"Status must be one of: {', '.join(_LINE_STATUSES)}.")
        before = self._line(number)
        line = self.store.set_line_status(number, status) or before
        account = self.store.account(line.account_id)
        if status == "BLOCKED" and before.status != "BLOCKED":
            body = bodies.line_blocked(number, account)
            self._notify(account, "line_blocked", body, lane=line.request_id, summary=number)
        if before.status == "OFFLINE" and status != "OFFLINE":
            for held in self.store.messages("line = ? AND is_outbound = 1 AND status = 'QUEUED'", (number,)):
                if not self.sender.is_pending(held.handle):
                    self._plan(held, send_fault(held.fault))
        return line
