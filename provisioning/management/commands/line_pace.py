"""Shows what a phone line may bear, and gives it limits of its own."""

import math
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from provisioning.models import LineStatus, PhoneLine
from routing import audit
from routing.models import AuditAction

LIMITS = ("pace_per_second", "pace_burst", "new_contacts_per_hour", "new_contacts_per_day")


class Command(BaseCommand):
    """One assigned line at a time; what is not named stays as it is."""

    help = (
        "Show the limits of a phone line and whose they are, and change them: messages per second, messages at once "
        "after a rest, new contacts an hour and a day. `provider` as a value goes back to the provider's own limit "
        "(SENDBLUE_PACE_… and SENDBLUE_NEW_CONTACTS_… in the environment). Workers heed a change with the next message."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The line, and its limits."""
        parser.add_argument("phone_number", help="the line's number, like +15551234567")
        for name in LIMITS:
            parser.add_argument(f"--{name.replace('_', '-')}", metavar="N|provider")

    def handle(self, *args: Any, **options: Any) -> None:
        """Change what was named, then show all. Raises CommandError, and changes nothing, for what is no limit."""
        asked = {name: options[name] for name in LIMITS if options[name] is not None}
        with transaction.atomic():
            line = self._line(options["phone_number"])
            before = {name: getattr(line, name) for name in asked}
            for name, given in asked.items():
                setattr(line, name, _limit(name, given))
            try:
                line.clean_fields(exclude={field.name for field in line._meta.fields} - set(asked))
            except ValidationError as error:
                problems = [f"{name}: {' '.join(words)}" for name, words in error.message_dict.items()]
                raise CommandError(" ".join(problems)) from error
            changed = {
                name: (before[name], getattr(line, name)) for name in asked if before[name] != getattr(line, name)
            }
            if changed:
                line.save(update_fields=list(changed))
                audit.record(
                    by=None,
                    action=AuditAction.CHANGED,
                    obj=line,
                    location_id=line.location_id,
                    detail="Limits were changed from the command line.",
                    changes={name: (audit.shown(old), audit.shown(new)) for name, (old, new) in changed.items()},
                )
        for name in LIMITS:
            own = getattr(line, name)
            effective = getattr(line.pace, name.removeprefix("pace_"))
            words = "no limit" if effective is None else f"{effective:g}"
            self.stdout.write(
                f"{name.replace('_', ' '):24}{words:>10}  ({'its own' if own is not None else 'provider'})"
            )

    def _line(self, phone_number: str) -> PhoneLine:
        lines = PhoneLine.objects.filter(status=LineStatus.ASSIGNED, phone_number=phone_number)
        line = lines.select_related("setup").select_for_update(of=("self",)).first()
        if line is None:
            raise CommandError(f"No assigned line has the number {phone_number}; give it like +15551234567.")
        return line


def _limit(name: str, given: str) -> float | int | None:
    if given == "provider":
        return None
    try:
        limit = float(given) if name == "pace_per_second" else int(given)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise CommandError(f"{given!r} is no limit for {name.replace('_', ' ')}: give a number, or `provider`.")
    return limit
