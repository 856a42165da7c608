"""`manage.py load_demo`: the demo's clinic."""

import json
import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from imessage_hub.demo.days import live_through
from provisioning.models import PhoneLine
from provisioning.services import create_setup
from routing.models import Account, Location, Membership, Role, User
from routing.services import create_api_key, get_or_create_contact, set_tags

NAME = "Maple Street Clinic"
AT_ONCE = "290"
"""The sandbox's area code for a number that is in the answer."""
LATER = "291"
"""The sandbox's area code for a number that is placed some seconds later, and told by webhook."""
LABELS = ("Front desk", "Billing", "Dr. Lee", "Nurse line")


class Command(BaseCommand):
    """Fills an empty database with a clinic, through the same services as everybody."""

    help = (
        "Loads the location “Maple Street Clinic” with three users, four connected accounts, a pending line, "
        "contacts and two weeks of messages, and prints what the demo needs to know of them as JSON. "
        "Wants a provider: the sandbox."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Load."""
        if Location.objects.filter(name=NAME).exists():
            raise CommandError(f"{NAME} is there already; the demo begins with an empty database.")
        password = os.environ.get("HUB_DEMO_PASSWORD", "")
        if not password:
            raise CommandError("HUB_DEMO_PASSWORD is not set: the password of the demo's users.")
        location = Location.objects.create(name=NAME, time_zone="America/New_York")
        people = {
            username: self._member(location, username, first, last, role, password)
            for username, first, last, role in (
                ("dana", "Dana", "Whitfield", Role.ADMIN),
                ("lee", "Morgan", "Lee", Role.AGENT),
                ("kim", "Robin", "Kim", Role.VIEWER),
            )
        }
        accounts = {label: self._account(location, label, people["dana"]) for label in LABELS}
        Account.objects.filter(pk=accounts["Dr. Lee"].pk).update(user=people["lee"])
        pending = create_setup(
            location=location,
            business_name="maple-after-hours",
            label="After hours",
            area_code=LATER,
            by=people["dana"],
        )
        contacts = self._contacts(location, people["lee"], accounts["Billing"].phone_number)
        live_through(location=location, doctor=people["lee"], accounts=accounts, now=timezone.now())
        _, key = create_api_key(location=location, name="Demo")
        told = {
            "location": str(location.pk),
            "api_key": key,
            "admin": "dana",
            "agent": "lee",
            "viewer": "kim",
            "default_account": str(accounts["Front desk"].pk),
            "pending_setup": str(pending.pk),
            **contacts,
        }
        self.stdout.write(json.dumps(told))

    @staticmethod
    def _member(location: Location, username: str, first: str, last: str, role: Role, password: str) -> User:
        user = User.objects.create_user(
            username,
            password=password,
            first_name=first,
            last_name=last,
            is_staff=True,
            email=f"{username}@example.com",
        )
        Membership.objects.create(location=location, user=user, role=role, crm_user_id=f"crm-{username}")
        return user

    @staticmethod
    def _account(location: Location, label: str, by: User) -> Account:
        name = "maple-" + "".join(letter if letter.isalnum() else "-" for letter in label.lower()).replace("--", "-")
        setup = create_setup(location=location, business_name=name, label=label, area_code=AT_ONCE, by=by)
        line = PhoneLine.objects.select_related("account").filter(setup=setup, account__isnull=False).first()
        if line is None or line.account is None:
            raise CommandError(f"The setup {label} got no number: {setup.problem or setup.status}.")
        return line.account

    @staticmethod
    def _contacts(location: Location, user: User, billing: str) -> dict[str, str]:
        """Contacts that make each standing rule apply."""
        people = {
            "nobody": ("Avery Brooks", "+12125550101"),
            "assigned": ("Jordan Reyes", "+12125550102"),
            "tagged": ("Casey Nguyen", "+12125550103"),
        }
        rows = {}
        for role, (name, number) in people.items():
            rows[role], _ = get_or_create_contact(location=location, phone_number=number, name=name)
        rows["assigned"].assigned_user = user
        rows["assigned"].save(update_fields=["assigned_user"])
        set_tags(contact=rows["tagged"], names=["vip", f"im: {billing}"])
        return {role: contact.phone_number for role, contact in rows.items()}
