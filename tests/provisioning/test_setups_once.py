"""A setup that is asked for twice under one id is made once."""

import uuid
from typing import Any

import pytest

from provisioning.models import Setup
from provisioning.services import create_setup
from routing.errors import Refused
from routing.models import Location
from tests.factories import make_location
from tests.provisioning.fake_provider import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def create(location: Location, setup_id: uuid.UUID) -> Setup:
    return create_setup(location=location, business_name="Harbor", label="Desk", setup_id=setup_id)


def test_the_second_request_is_told_and_asks_no_provider(provider: FakeProvider) -> None:
    location, wanted = make_location(), uuid.uuid4()
    assert create(location, wanted).pk == wanted
    with pytest.raises(Refused, match=r"^setup_exists:"):
        create(location, wanted)
    assert len(provider.created) == 1


def test_an_id_of_another_location_is_one_that_cannot_be_used(provider: FakeProvider) -> None:
    wanted = create(make_location(), uuid.uuid4()).pk
    with pytest.raises(Refused, match=r"^invalid_setup_id:"):
        create(make_location(), wanted)
    assert len(provider.created) == 1


@pytest.mark.postgres
def test_many_at_once_make_one_subaccount(provider: FakeProvider, in_threads: Any) -> None:
    location, wanted = make_location(), uuid.uuid4()
    results = in_threads(20, lambda _: create(location, wanted))
    made = [result for result in results if isinstance(result, Setup)]
    told = {result.code for result in results if isinstance(result, Refused)}
    assert (len(made), len(provider.created), told) == (1, 1, {"setup_exists"})
    assert len(results) == len(made) + sum(isinstance(result, Refused) for result in results)
