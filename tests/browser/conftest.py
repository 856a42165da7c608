"""One running hub for all browser tests: web server, worker and sandbox in a folder of their own, no test database."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from imessage_hub.demo import environment as env
from imessage_hub.demo.__main__ import bring_up
from imessage_hub.demo.chromium import CHROMIUM, FLAGS
from imessage_hub.demo.processes import STOPPING, Processes
from tests.browser.rig import Hub, People, Trouble

HERE = Path(__file__).parent
REQUIRED = os.environ.get("HUB_REQUIRE_BROWSER") == "1"

QUICK = {
    # A provider that does not answer, and then a person to ask, both within seconds.
    "HUB_CALL_DEADLINE_S": "3",
    "HUB_UNCERTAIN_GRACE_S": "1",
    "HUB_POLL_INTERVAL_S": "0.1",
    "HUB_LOG_FORMAT": "json",
}

TELL_TYPING = """
from provisioning.models import Setup
from provisioning.providers import sendblue
from provisioning.services import upkeep
sendblue.WEBHOOK_TYPES = (*sendblue.WEBHOOK_TYPES, "typing_indicator")
for setup in Setup.objects.filter(status="active"):
    assert upkeep._register(setup) is None
"""
"""The hub does not ask to be told of typing, since the vendor was seen to refuse it; where it is told, it shows it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them on one worker: they share the hub. Without a browser they are skipped, and say so."""
    missing = pytest.mark.skip(reason=f"{CHROMIUM} is not there: apt-get install chromium")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            if not CHROMIUM.exists() and not REQUIRED:
                item.add_marker(missing)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """`Processes` takes the signals that stop a program; pytest gets its own back."""
    kept = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The running hub with the demo's clinic."""
    place = env.Place.within(tmp_path_factory.mktemp("hub"))
    env.ensure_env_file(place)
    variables = env.environment(web_port=env.free_port(0), sandbox_port=env.free_port(0), place=place) | QUICK
    with _signals_kept(), Processes(variables, place.files) as processes:
        clinic = bring_up(processes, variables, place, sandbox_options=["--allow-typing-webhook"])
        processes.run("manage.py", "shell", "-c", TELL_TYPING)
        running = Hub(
            url=variables["HUB_PUBLIC_URL"],
            phones=variables["SENDBLUE_BASE_URL"],
            clinic=clinic,
            password=variables["HUB_DEMO_PASSWORD"],
        )
        running.api.post(f"accounts/{clinic['default_account']}/set-default/")
        yield running
        processes.check()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The system's Chromium. For this folder only: its event loop keeps Django's database from other tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def signed_in() -> dict[str, Any]:
    """Cookies of who has signed in already."""
    return {}


@pytest.fixture
def people(hub: Hub, chromium: Browser, signed_in: dict[str, Any]) -> Iterator[People]:
    """Browsers of the clinic's people. Afterwards: no console error, no breach of the policy, no other host asked."""
    trouble = Trouble()
    everybody = People(hub, chromium, trouble, signed_in)
    yield everybody
    everybody.close()
    assert trouble.found == []
