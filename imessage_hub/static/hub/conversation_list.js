// The list of conversations stays up to date while somebody looks at it, and the figure in the side bar with it.

const EVERY_MS = 10000;
let timer = 0;

function later() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch(location.href, {
      redirect: "manual",
      credentials: "same-origin",
      headers: { "X-Hub-Background": "1" }, // what a page asks by itself keeps nobody signed in
    });
    if (answer.ok) apply(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The next time, perhaps.
  }
  later();
}

function apply(page) {
  const rows = document.getElementById("threads");
  const fresh = page.getElementById("threads");
  if (fresh && rows.innerHTML !== fresh.innerHTML) {
    const focused = rows.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    rows.replaceChildren(...fresh.childNodes);
    if (focused) rows.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
  const here = document.querySelector(".hub-nav a[aria-current]");
  const now = page.querySelector(".hub-nav a[aria-current]");
  if (here && now && here.innerHTML !== now.innerHTML) here.replaceChildren(...now.childNodes);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
later();
