// A page that keeps its moving part up to date: the element with `data-live`, fetched anew from its `data-url` for as
// long as it says `data-moves`. What changed is said to those who hear the page by `data-said`.

const LIVE_POLL_MS = 3000;

const said = document.getElementById("hub-said");
const live = () => document.querySelector("[data-live]");

async function pageAt(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html", "X-Hub-Background": "1" } });
  if (!answer.ok || answer.redirected) return null; // signed out, or gone
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function look() {
  const before = live();
  const found = (await pageAt(before.dataset.url))?.querySelector("[data-live]");
  if (!found) return false;
  if (said && found.dataset.said !== before.dataset.said) said.textContent = found.dataset.said;
  if (found.outerHTML !== before.outerHTML) {
    const href = before.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    before.replaceWith(found);
    if (href) [...found.querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus();
  }
  if (found.dataset.status !== before.dataset.status) {
    // Other things can be done with it now.
    const tools = (await pageAt(location.href))?.querySelector(".hub-tools");
    if (tools) document.querySelector(".hub-tools").replaceWith(tools);
  }
  return "moves" in found.dataset;
}

async function follow() {
  let goOn = true;
  try {
    if (!document.hidden) goOn = await look();
  } catch {
    // Out of reach for the moment.
  }
  if (goOn) setTimeout(follow, LIVE_POLL_MS);
}

if (live() && "moves" in live().dataset) setTimeout(follow, LIVE_POLL_MS);
