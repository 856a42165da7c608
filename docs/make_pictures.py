"""`make pictures`: a demo of its own, in the middle of a working day, and a picture of every page.

Each page of the admin is taken light and dark, wide and narrow: docs/pictures/<page>-<light|dark>-<wide|narrow>.png,
with the system's Chromium; the phones of the sandbox once.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from imessage_hub.demo import environment as env
from imessage_hub.demo.__main__ import bring_up
from imessage_hub.demo.chromium import CHROMIUM, FLAGS
from imessage_hub.demo.messages import Client, send_all
from imessage_hub.demo.processes import Processes
from provisioning.sandbox.faults import magic_area_code, magic_number

PICTURES = Path(__file__).parent / "pictures"
MOST_BYTES = 4 * 1024 * 1024
"""Of all pictures together."""
COLOURS = 96
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
WAIT_S = 60.0

PAGES = {
    "home": "/admin/",
    "conversations": "/admin/messaging/thread/",
    "conversation-new": "/admin/messaging/thread/new/",
    "messages": "/admin/messaging/message/",
    "desk": "/admin/messaging/message/desk/",
    "contacts": "/admin/routing/contact/",
    "contact-import": "/admin/routing/contact/import/",
    "accounts": "/admin/routing/account/",
    "setups": "/admin/provisioning/setup/",
    "setup-new": "/admin/provisioning/setup/add/",
    "events": "/admin/provisioning/providerevent/",
    "team": "/admin/routing/membership/",
    "invitations": "/admin/routing/invitation/",
    "invitation-new": "/admin/routing/invitation/add/",
    "api-keys": "/admin/routing/apikey/",
    "locations": "/admin/routing/location/",
    "audit": "/admin/routing/auditentry/",
    "your-account": "/admin/account/",
}
FIRST_OF = {
    "event": "events",
    "account": "accounts",
    "member": "team",
    "api-key": "api-keys",
    "location": "locations",
    "audit-entry": "audit",
}
"""Pages of one object, the first of a list."""


@dataclass(frozen=True)
class Day:
    """What the pages show: ids of the conversation, the contact, the message and the setup to look at."""

    talk: str
    message: str
    setup: str


def main() -> int:
    """Take them all; 1 when they are too large together."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = env.Place.within(Path(folder))
        env.ensure_env_file(place)
        variables = env.environment(web_port=env.free_port(0), sandbox_port=env.free_port(0), place=place)
        # A provider that does not answer is given up soon, and then it is a person's turn.
        variables |= {"HUB_CALL_DEADLINE_S": "3", "HUB_UNCERTAIN_GRACE_S": "1"}
        with Processes(variables, place.files) as processes:
            clinic = bring_up(processes, variables, place)
            api = Client(variables["HUB_PUBLIC_URL"], clinic["api_key"])
            send_all(api, clinic)
            day = _work(variables["SENDBLUE_BASE_URL"], api, clinic)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            for old in PICTURES.glob("*.png"):
                old.unlink()
            _phones(browser, variables["SENDBLUE_BASE_URL"])
            _admin(browser, variables["HUB_PUBLIC_URL"], clinic["admin"], variables["HUB_DEMO_PASSWORD"], day)
            browser.close()
    total = sum(_made_small(path) for path in PICTURES.glob("*.png"))
    sys.stdout.write(f"{len(list(PICTURES.glob('*.png')))} pictures, {total / 1024:.0f} KiB in all\n")
    return 0 if total <= MOST_BYTES else 1


# --- the day ----------------------------------------------------------------------------------------------------------


def _work(phones: str, api: Client, clinic: dict[str, str]) -> Day:
    """A question and an answer, a failure, a message nobody knows about, one for later, and a line that is awaited."""
    accounts = {account["label"].split()[0].lower(): account for account in api.get("accounts/")["results"]}
    said = [("front", "nobody", "Can I park behind the building?"), ("billing", "tagged", "Got it, I'll pay today.")]
    for label, who, text in said:
        body = {"line": accounts[label]["phone_number"], "customer": clinic[who], "text": text}
        requests.post(f"{phones}/_sandbox/reply", json=body, timeout=10).raise_for_status()
    answer = _send(api, clinic["nobody"], "Yes, the first two hours are free. See you tomorrow at 9!")
    _send(api, magic_number("undelivered"), "Your appointment is on Friday at 14:00.", name="Quinn Abbott")
    doubt = _send(api, magic_number("timeout_not_sent"), "Please call us about your results.", name="Remy Cole")
    api.post(
        "messages/",
        {"to": "+12125550114", "text": "A reminder: Monday at 8:15.", "scheduled_at": _later(hours=20)},
    )
    setup = api.post(
        "setups/",
        {
            "business_name": "maple-pediatrics",
            "label": "Pediatrics",
            "area_code": magic_area_code("never_placed"),
            "location": clinic["location"],
        },
    )
    _until(api, answer, {"delivered"})
    _until(api, doubt, {"uncertain"})
    people = api.get("contacts/?page_size=200")["results"]
    talk = next(person["id"] for person in people if person["name"] == "Harper Ellis")
    return Day(talk=talk, message=answer, setup=clinic["pending_setup"] or setup["id"])


def _send(api: Client, to: str, text: str, *, name: str = "") -> str:
    if name:
        api.post("contacts/", {"phone_number": to, "name": name})
    return str(api.post("messages/", {"to": to, "text": text})["id"])


def _later(*, hours: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + hours * 3600))


def _until(api: Client, message: str, statuses: set[str]) -> None:
    deadline = time.monotonic() + WAIT_S
    while (status := api.get(f"messages/{message}/")["status"]) not in statuses:
        if time.monotonic() > deadline:
            raise SystemExit(f"A message is {status} and not {statuses}.")
        time.sleep(0.2)


# --- the pictures -----------------------------------------------------------------------------------------------------


def _phones(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page.goto(url)
    for name in ("0101", "0103", "0102"):
        page.locator("#phones").get_by_role("button", name=name).first.click()
    page.get_by_text("Delivered").first.wait_for()
    page.mouse.move(0, 0)
    page.screenshot(path=PICTURES / "phones.png")
    page.close()


def _admin(browser: Browser, hub: str, username: str, password: str, day: Day) -> None:
    signed_in: Any = None
    for width, (across, down) in SIZES.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(
                base_url=hub,
                viewport={"width": across, "height": down},
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
                is_mobile=width == "narrow",
                has_touch=width == "narrow",
                storage_state=signed_in,
            )
            page = context.new_page()
            if signed_in is None:
                page.goto("/admin/")
                page.screenshot(path=PICTURES / f"sign-in-{scheme}-{width}.png")
                page.fill("#id_username", username)
                page.fill("#id_password", password)
                page.click("[type=submit]")
                page.get_by_role("navigation", name="Main").first.wait_for(state="attached")
                signed_in = context.storage_state()
            for name, address in _pages(page, day):
                answer = page.goto(address)
                if answer is None or answer.status != 200:
                    raise SystemExit(f"{name}: {address} answers {answer and answer.status}.")
                page.wait_for_timeout(200)
                page.screenshot(path=PICTURES / f"{name}-{scheme}-{width}.png")
            context.close()


def _pages(page: Page, day: Day) -> Iterator[tuple[str, str]]:
    """Every page to take, by name. Of a list without rows there is no page of the first."""
    yield from PAGES.items()
    yield "conversation", f"/admin/messaging/thread/{day.talk}/change/"
    yield "contact", f"/admin/routing/contact/{day.talk}/change/"
    yield "message", f"/admin/messaging/message/{day.message}/change/"
    yield "setup", f"/admin/provisioning/setup/{day.setup}/change/"
    for name, listed in FIRST_OF.items():
        page.goto(PAGES[listed])
        link = page.get_by_role("main").locator("a[href*='/change/']").first
        if link.count():
            yield name, str(link.get_attribute("href"))


def _made_small(path: Path) -> int:
    """Draw the picture with few colours; how many bytes it has then."""
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(colors=COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
