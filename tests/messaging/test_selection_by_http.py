"""Every case of number selection through the door clients use: what send answers, and that preview says the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from rest_framework.test import APIClient

from messaging.models import Message
from routing.models import Account, Contact, Location, Role, Unavailable
from routing.services import clear_default_account, retire_account, set_default_account, set_tags
from tests.factories import make_account, make_api_key, make_contact, make_location, make_member, new_phone

SEND, PREVIEW = "/api/v1/messages/", "/api/v1/messages/preview/"


@dataclass
class Scene:
    """A location with accounts 1 to 4, of which nothing is the default, and a contact without preferences."""

    location: Location
    contact: Contact
    accounts: dict[int, Account]
    api: APIClient
    body: dict[str, Any] = field(default_factory=dict)

    def tag(self, *names: str) -> None:
        """Tags of the contact; {1} stands for the number of account 1."""
        numbers = {str(index): account.phone_number for index, account in self.accounts.items()}
        filled = []
        for name in names:
            for index, number in numbers.items():
                name = name.replace("{" + index + "}", number)
            filled.append(name)
        set_tags(contact=self.contact, names=filled)

    def stop(self, *indexes: int) -> None:
        """These accounts cannot send."""
        Account.objects.filter(location=self.location, index__in=indexes).update(connected=False)

    def default(self, index: int) -> None:
        """Make one the default."""
        set_default_account(account=self.accounts[index], by=None)

    def last_used(self, index: int) -> None:
        """The account whose number the contact last saw."""
        Contact.objects.filter(pk=self.contact.pk).update(last_account=self.accounts[index])

    def assign(self, *indexes: int, **user: Any) -> None:
        """Assign the contact to a member who has these accounts."""
        member = make_member(self.location, Role.AGENT)
        for name, value in user.items():
            setattr(member, name, value)
        member.save()
        Account.objects.filter(location=self.location, index__in=indexes).update(user=member)
        Contact.objects.filter(pk=self.contact.pk).update(assigned_user=member)

    def policy(self, **fields: Any) -> None:
        """The location's policies."""
        Location.objects.filter(pk=self.location.pk).update(**fields)


@pytest.fixture
def scene(db: None) -> Scene:
    location = make_location()
    accounts = {account.index: account for account in (make_account(location) for _ in range(4))}
    _, key = make_api_key(location)
    api = APIClient(raise_request_exception=False, HTTP_AUTHORIZATION=f"Bearer {key}")
    return Scene(location, make_contact(location), accounts, api)


Arrange = Callable[[Scene], object]


def both(*steps: Arrange) -> Arrange:
    """Several arrangements, one after the other."""
    return lambda scene: [step(scene) for step in steps]


def nothing(scene: Scene) -> None:
    """No preference of anybody."""


def retired_one(scene: Scene) -> None:
    retire_account(account=scene.accounts[1], by=None)


def foreign_account(scene: Scene) -> None:
    """Another location has an account 9 and the number that the contact is tagged with."""
    other = make_location()
    for _ in range(9):
        account = make_account(other)
    set_tags(contact=scene.contact, names=[f"im: {account.phone_number}"])


def stranger_assigned(scene: Scene) -> None:
    scene.assign(3)
    user = Contact.objects.get(pk=scene.contact.pk).assigned_user
    assert user is not None
    user.memberships.all().delete()


def national_tag(scene: Scene) -> None:
    """The tag is written as people write numbers, in capitals."""
    number = scene.accounts[2].phone_number
    set_tags(contact=scene.contact, names=[f"IM : ({number[2:5]}) {number[5:8]}-{number[8:]}"])


FAIL_TAG: Arrange = lambda scene: scene.policy(unavailable_tag_account=Unavailable.FAIL)  # noqa: E731
FAIL_USER: Arrange = lambda scene: scene.policy(unavailable_user_account=Unavailable.FAIL)  # noqa: E731


def opted_out(scene: Scene) -> None:
    Contact.objects.filter(pk=scene.contact.pk).update(opted_out_at=scene.contact.created_at)


@dataclass(frozen=True)
class Case:
    """`index` None: nothing is sent. `rule` is the rule that chose, or that failed the message."""

    name: str
    arrange: Arrange
    text: str
    rule: str | None
    index: int | None = None
    code: str | None = None
    warnings: tuple[str, ...] = ()
    account: int | None = None


CASES = [
    # rule 1 and 2
    Case("override by text", nothing, "hi {IM#3}", "manual_override", 3),
    Case("override by request", nothing, "hi", "manual_override", 3, account=3),
    Case("override by both, agreeing", nothing, "hi {IM#3}", "manual_override", 3, account=3),
    Case("override beats all", both(lambda s: s.tag("im: {1}"), lambda s: s.default(2)), "{IM#4} hi",
         "manual_override", 4),
    Case("override not there", nothing, "hi {IM#9}", "manual_override", code="override_account_not_found"),
    Case("override to zero", nothing, "hi {IM#0}", "manual_override", code="override_account_not_found"),
    Case("override to a retired one", retired_one, "hi {IM#1}", "manual_override", code="override_account_not_found"),
    Case("override of another location", foreign_account, "hi {IM#9}", "manual_override",
         code="override_account_not_found"),
    Case("override not connected", lambda s: s.stop(3), "hi {IM#3}", "manual_override",
         code="override_account_not_connected"),
    Case("temporary", nothing, "hi {TEMP-IM#2}", "temporary_override", 2),
    Case("temporary not there", nothing, "hi {TEMP-IM#7}", "temporary_override", code="override_account_not_found"),
    Case("temporary not connected", lambda s: s.stop(2), "hi {TEMP-IM#2}", "temporary_override",
         code="override_account_not_connected"),
    Case("both patterns", nothing, "{TEMP-IM#2} hi {IM#3}", "manual_override", 3),
    Case("same twice", nothing, "{IM#3} hi {im # 003}", "manual_override", 3),
    # rule 3
    Case("tag", lambda s: s.tag("vip", "im: {2}"), "hi", "contact_tag", 2),
    Case("tag as people write it", national_tag, "hi", "contact_tag", 2),
    Case("tag not connected, next", both(lambda s: s.tag("im: {2}"), lambda s: s.stop(2)), "hi", "any_available", 1),
    Case("tag not connected, fail", both(FAIL_TAG, lambda s: s.tag("im: {2}"), lambda s: s.stop(2)), "hi",
         "contact_tag", code="tag_account_not_connected"),
    Case("tag unreadable", lambda s: s.tag("im: nobody"), "hi", "any_available", 1, warnings=("tag_invalid",)),
    Case("tag of no account", lambda s: s.tag("im: +15559999999"), "hi", "any_available", 1,
         warnings=("tag_unmatched",)),
    Case("tag of another location's account", foreign_account, "hi", "any_available", 1, warnings=("tag_unmatched",)),
    Case("two tags, the lowest", lambda s: s.tag("im: {3}", "im: {2}"), "hi", "contact_tag", 2,
         warnings=("tag_ambiguous",)),
    Case("two tags, the last used", both(lambda s: s.tag("im: {3}", "im: {2}"), lambda s: s.last_used(3)), "hi",
         "contact_tag", 3, warnings=("tag_ambiguous",)),
    Case("two tags of one account", lambda s: s.tag("im: {3}", "IM:{3}"), "hi", "contact_tag", 3),
    # rule 4
    Case("assigned user", lambda s: s.assign(3), "hi", "assigned_user", 3),
    Case("assigned user with two, the lowest", lambda s: s.assign(4, 3), "hi", "assigned_user", 3),
    Case("assigned user with two, the last used", both(lambda s: s.assign(4, 3), lambda s: s.last_used(4)), "hi",
         "assigned_user", 4),
    Case("assigned user not connected, next", both(lambda s: s.assign(3), lambda s: s.stop(3)), "hi",
         "any_available", 1),
    Case("assigned user not connected, fail", both(FAIL_USER, lambda s: s.assign(3), lambda s: s.stop(3)), "hi",
         "assigned_user", code="user_account_not_connected"),
    Case("assigned user without account", lambda s: s.assign(), "hi", "any_available", 1),
    Case("assigned user inactive", lambda s: s.assign(3, is_active=False), "hi", "any_available", 1),
    Case("assigned user no member", stranger_assigned, "hi", "any_available", 1),
    Case("tag beats assigned user", both(lambda s: s.tag("im: {2}"), lambda s: s.assign(3)), "hi", "contact_tag", 2),
    # rules 5 and 6
    Case("default", lambda s: s.default(4), "hi", "default_account", 4),
    Case("default not connected", both(lambda s: s.default(4), lambda s: s.stop(4)), "hi", "any_available", 1,
         warnings=("default_skipped",)),
    Case("assigned user beats default", both(lambda s: s.assign(3), lambda s: s.default(4)), "hi", "assigned_user", 3),
    Case("any, the lowest", lambda s: s.stop(1), "hi", "any_available", 2),
    Case("any, the last used", lambda s: s.last_used(3), "hi", "any_available", 3),
    Case("any, the last used is not connected", both(lambda s: s.last_used(3), lambda s: s.stop(3)), "hi",
         "any_available", 1, warnings=("number_switch",)),
    Case("switch of number", both(lambda s: s.last_used(3), lambda s: s.default(2)), "hi", "default_account", 2,
         warnings=("number_switch",)),
    # nobody
    Case("nobody can send", lambda s: s.stop(1, 2, 3, 4), "hi", None, code="no_connected_account"),
    Case("opted out", opted_out, "hi {IM#3}", None, code="contact_opted_out"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_send_decides_as_ruled_and_preview_says_the_same(scene: Scene, case: Case) -> None:
    case.arrange(scene)
    body = {"to": str(scene.contact.pk), "text": case.text}
    if case.account is not None:
        body["account"] = case.account  # type: ignore[assignment]
    before = Message.objects.count()
    preview = scene.api.post(PREVIEW, body)
    assert preview.status_code == 200, preview.content
    assert Message.objects.count() == before
    answer = scene.api.post(SEND, body)
    trace = answer.json()["routing"]
    assert preview.json()["routing"] == trace
    assert trace["rule"] == case.rule
    assert trace["code"] == case.code
    assert tuple(warning["code"] for warning in trace["warnings"]) == case.warnings
    assert len(trace["steps"]) == 6
    assert trace["sentence"]
    if case.index is None:
        assert answer.status_code == 422
        assert answer.json()["code"] == case.code
        stored = Message.objects.get(pk=answer.json()["message"])
        assert (stored.status, stored.code, stored.account) == ("failed", case.code, None)
    else:
        assert answer.status_code == 202
        assert answer.json()["account"]["index"] == trace["account"]["index"] == case.index
        assert answer.json()["text"] == "hi"
        stored = Message.objects.get(pk=answer.json()["id"])
        assert (stored.account, stored.status) == (scene.accounts[case.index], "queued")
        assert stored.number_switch == ("number_switch" in case.warnings)
    assert stored.trace == trace


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"text": "{IM#1} or {IM#2}"}, "override_conflict"),
        ({"text": "{TEMP-IM#1} or {TEMP-IM#2}"}, "override_conflict"),
        ({"text": "hi {IM#1}", "account": 2}, "override_conflict"),
        ({"text": "hi {IM2}"}, "override_malformed"),
        ({"text": "hi {IM#two}"}, "override_malformed"),
        ({"text": "hi {TEMP IM#2}"}, "override_malformed"),
        ({"text": "hi {IM#1234567}"}, "override_malformed"),
        ({"text": " {IM#1} "}, "empty_message"),
        ({"text": ""}, "empty_message"),
        ({"text": "x" * 18_997}, "text_too_long"),
    ],
)
def test_a_malformed_text_is_refused_and_stores_nothing(scene: Scene, body: dict[str, Any], code: str) -> None:
    new_number = new_phone()
    for path in (SEND, PREVIEW):
        answer = scene.api.post(path, {"to": new_number, **body})
        assert answer.status_code == 400, answer.content
        assert code in {answer.json()["code"], *(error["code"] for error in answer.json()["errors"])}
    assert Message.objects.count() == 0
    assert not Contact.objects.filter(phone_number=new_number).exists()


def test_literal_text_goes_as_it_is(scene: Scene) -> None:
    text = "Type {IM#2} to choose a line"
    answer = scene.api.post(SEND, {"to": scene.contact.phone_number, "text": text, "parse_overrides": False})
    assert answer.status_code == 202
    assert answer.json()["text"] == text
    assert answer.json()["routing"]["rule"] == "any_available"


def test_overrides_write_nothing(scene: Scene) -> None:
    for text in ("hi {IM#3}", "hi {TEMP-IM#2}"):
        scene.api.post(SEND, {"to": scene.contact.phone_number, "text": text})
    assert scene.contact.tags.count() == 0


def test_an_index_is_never_given_again(scene: Scene) -> None:
    retire_account(account=scene.accounts[4], by=None)
    assert make_account(scene.location, phone_number=scene.accounts[4].phone_number).index == 5
    answer = scene.api.post(PREVIEW, {"to": scene.contact.phone_number, "text": "hi {IM#4}"})
    assert answer.json()["routing"]["code"] == "override_account_not_found"


def test_a_location_without_a_default_is_a_location_like_any_other(scene: Scene) -> None:
    scene.default(2)
    clear_default_account(location=scene.location, by=None)
    answer = scene.api.post(PREVIEW, {"to": scene.contact.phone_number, "text": "hi"})
    assert answer.json()["routing"]["rule"] == "any_available"


@pytest.mark.parametrize("accounts", [0, 300])
def test_a_decision_takes_the_same_queries_whatever_the_location_holds(
    scene: Scene, accounts: int, django_assert_max_num_queries: Any
) -> None:
    Account.objects.bulk_create(
        Account(location=scene.location, index=100 + n, label="x", phone_number=f"+1666{n:07d}")
        for n in range(accounts)
    )
    scene.tag(*(f"tag {n}" for n in range(accounts // 10)), "im: {2}")
    scene.assign(3)
    with django_assert_max_num_queries(8):
        scene.api.post(PREVIEW, {"to": scene.contact.phone_number, "text": "hi"})
