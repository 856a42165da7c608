"""A hub that really runs, its phones, and people's browsers that complain of what a page may not do."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from imessage_hub.demo.messages import Client

WIDE, MIDDLE, NARROW = 1440, 1024, 390
USERNAME = re.compile(r"^user ?name", re.IGNORECASE)
PATIENCE_MS = 15_000
"""How long a page may take to show what happened elsewhere."""

LAYOUT_SHIFT = """
window.layoutShift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.layoutShift += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""


@dataclass(frozen=True)
class Hub:
    """Where the running hub is, and the clinic that it begins with (see `load_demo`)."""

    url: str
    phones: str
    """The sandbox: every line as a phone."""
    clinic: dict[str, str]
    password: str
    """Of all of the clinic's users."""

    @property
    def api(self) -> Client:
        """The HTTP API with the clinic's key."""
        return Client(self.url, self.clinic["api_key"])

    def control(self, name: str, **body: Any) -> Any:
        """Act as a customer or as the phone company: `reply`, `react`, `read`, `typing`, `place`, `line-status`."""
        answer = requests.post(f"{self.phones}/_sandbox/{name}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def sandbox_messages(self, line: str, customer: str) -> list[dict[str, Any]]:
        """What the phone of the customer shows of the line, oldest first."""
        state = requests.get(f"{self.phones}/_sandbox/state", timeout=10).json()
        return [
            message
            for account in state["accounts"]
            for one in account["lines"]
            if one["number"] == line
            for conversation in one["conversations"]
            if conversation["number"] == customer
            for message in conversation["messages"]
        ]

    def number_of(self, label: str) -> str:
        """The number of the account with this label."""
        accounts = self.api.get("accounts/?page_size=200")["results"]
        return str(next(account["phone_number"] for account in accounts if account["label"] == label))

    def contact(self, name: str, number: str, **fields: Any) -> str:
        """The id of a new contact of the clinic."""
        return str(self.api.post("contacts/", {"name": name, "phone_number": number, **fields})["id"])


@dataclass
class Trouble:
    """What the browser had to complain of while somebody used it."""

    found: list[str] = field(default_factory=list)

    def watch(self, page: Page, hub: Hub) -> None:
        """Note console errors (breaches of the content security policy are such), uncaught exceptions, other hosts."""
        hosts = {urlsplit(hub.url).netloc, urlsplit(hub.phones).netloc}

        def console(message: ConsoleMessage) -> None:
            # A refused form answers 4xx, which Chromium tells as an error of its own.
            if message.type == "error" and "Failed to load resource" not in message.text:
                self.found.append(f"{page.url}: console: {message.text}")

        def request(request: Request) -> None:
            parts = urlsplit(request.url)
            if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc not in hosts:
                self.found.append(f"{page.url}: asked {request.url}")

        page.on("console", console)
        page.on("pageerror", lambda error: self.found.append(f"{page.url}: {error}"))
        page.on("request", request)


@dataclass
class People:
    """Browsers by person; each has cookies of its own. Signing in is done once and remembered."""

    hub: Hub
    browser: Browser
    trouble: Trouble
    _signed_in: dict[str, Any]
    _open: list[BrowserContext] = field(default_factory=list)

    def stranger(self, *, width: int = WIDE, dark: bool = False, **options: Any) -> Page:
        """A browser that nobody has signed in with."""
        context = self.browser.new_context(
            base_url=self.hub.url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            **options,
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(LAYOUT_SHIFT)
        context.on("page", lambda page: self.trouble.watch(page, self.hub))
        self._open.append(context)
        return context.new_page()

    def as_(self, username: str, **options: Any) -> Page:
        """A browser of somebody who has signed in; `username` is a key of the clinic or a name."""
        name = self.hub.clinic.get(username, username)
        if name not in self._signed_in:
            page = self.stranger()
            sign_in(page, name, self.hub.password)
            page.get_by_role("main").wait_for()
            self._signed_in[name] = page.context.storage_state()
            page.context.close()
        return self.stranger(storage_state=self._signed_in[name], **options)

    def close(self) -> None:
        """Close every browser."""
        while self._open:
            self._open.pop().close()


def sign_in(page: Page, username: str, password: str) -> None:
    """Through the form, as everybody."""
    page.goto("/admin/login/")
    page.get_by_label(USERNAME).fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
