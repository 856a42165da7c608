// A conversation that stays up to date: new bubbles and marks come by themselves, what is typed is looked ahead at,
// and sending leaves the page where it is. Without this file the page still reads and sends.

const EVERY_MS = 2000;
const SLOWEST_MS = 30000;
const LOOK_AFTER_MS = 250;
const FRAGMENT = { "X-Hub-Fragment": "1" };
// What a page asks by itself keeps nobody signed in.
const BY_ITSELF = { ...FRAGMENT, "X-Hub-Background": "1" };

const main = document.getElementById("conversation");
const scroller = document.getElementById("scroller");
const offline = document.getElementById("offline");
const composer = document.getElementById("composer");
const said = document.getElementById("hub-said");
const part = (name) => document.getElementById(name);

// --- putting what came into the page ---

/** Run `change` so that a reader at the end stays at the end, and another stays where they read. */
function inPlace(change) {
  const atEnd = Math.abs(scroller.scrollTop) < 40; // laid out from its end: 0 is the end
  const top = scroller.getBoundingClientRect().top;
  const anchor = atEnd ? null : [...part("bubbles").children].find((item) => item.getBoundingClientRect().bottom > top);
  const before = anchor?.getBoundingClientRect().top;
  const id = anchor?.id;
  change();
  if (atEnd) scroller.scrollTop = 0;
  else if (id && part(id)) scroller.scrollTop += part(id).getBoundingClientRect().top - before;
}

function parse(html) {
  return new DOMParser().parseFromString(html, "text/html").getElementById("window");
}

function apply(html) {
  const fresh = parse(html);
  if (!fresh) return;
  inPlace(() => {
    const list = part("bubbles");
    const items = [...fresh.querySelectorAll("#bubbles > li")];
    if (list.children.length && !items.some((item) => part(item.id))) {
      // More came than one page holds: begin anew, so that nothing is missing in between.
      list.replaceChildren();
      part("older").replaceWith(fresh.querySelector("#older"));
    }
    let previous = null;
    for (const item of items) {
      const old = part(item.id);
      if (!old) {
        if (previous) previous.after(item);
        else list.append(item);
        announce(item);
      } else if (old.dataset.sign !== item.dataset.sign) {
        replace(old, item);
      }
      previous = part(item.id);
    }
    if (items.length) part("nothing-said")?.remove();
    if (part("typing").textContent.trim() !== fresh.querySelector("#typing").textContent.trim()) {
      part("typing").replaceWith(fresh.querySelector("#typing"));
    }
  });
  part("window").dataset.version = fresh.dataset.version;
  if (composer && fresh.dataset.token) composer.elements.token.dataset.next = fresh.dataset.token;
}

/** A bubble that changed; what was opened in it stays open, and the focus stays in it. */
function replace(old, item) {
  const open = old.querySelector("details")?.open;
  const focused = old.contains(document.activeElement) ? document.activeElement.tagName : "";
  old.replaceWith(item);
  if (open && item.querySelector("details")) item.querySelector("details").open = true;
  if (focused) item.querySelector(focused.toLowerCase())?.focus();
}

function announce(item) {
  if (!("theirs" in item.dataset) || !said) return;
  said.textContent = `${main.dataset.who}: ${item.querySelector(".hub-bubble-text")?.textContent ?? "picture or file"}`;
}

// --- following ---

let timer = 0;
let wait = EVERY_MS;
let asking = null;

function later() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(follow, wait);
}

async function follow() {
  clearTimeout(timer);
  if (asking) return;
  const mine = (asking = new AbortController());
  try {
    const answer = await ask(`${main.dataset.live}?v=${part("window").dataset.version}`, { signal: mine.signal, headers: BY_ITSELF });
    if (answer.status === 200) apply(await answer.text());
    if (!mine.signal.aborted) online();
  } catch (error) {
    if (error.name !== "AbortError") lost(error);
  } finally {
    if (asking === mine) asking = null;
    later();
  }
}

async function ask(url, options = {}) {
  const answer = await fetch(url, { redirect: "manual", credentials: "same-origin", headers: FRAGMENT, ...options });
  if (answer.type === "opaqueredirect" || answer.status === 403) throw new Error("out");
  if (answer.status >= 500 || answer.status === 404) throw new Error("lost");
  return answer;
}

function online() {
  wait = EVERY_MS;
  offline.hidden = true;
}

function lost(error) {
  wait = Math.min(wait * 2, SLOWEST_MS);
  const words = error.message === "out"
    ? "You are signed out, or may not do this any more. Sign in in another tab; what you typed stays here."
    : "No connection. What you typed stays here; this page tries again by itself.";
  if (offline.textContent !== words) offline.textContent = words;
  offline.hidden = false;
}

if (main && scroller) {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else follow();
  });
  window.addEventListener("online", follow);
  later();
}

// --- older pages ---

document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("#older a");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const answer = await ask(`${main.dataset.live}?before=${link.dataset.before}`);
    const fresh = parse(await answer.text());
    const list = part("bubbles");
    const first = list.firstElementChild;
    inPlace(() => {
      const items = [...fresh.querySelectorAll("#bubbles > li")];
      list.prepend(...items);
      // The day of what was the first is told by what stands above it now.
      if (first && items.at(-1)?.dataset.day === first.dataset.day) first.querySelector(".hub-day")?.remove();
      part("older").replaceWith(fresh.querySelector("#older"));
      part("older").querySelector("a")?.focus({ preventScroll: true });
    });
  } catch (error) {
    lost(error);
  }
});

// --- sending ---

const problem = part("problem");

function complain(words) {
  problem.replaceChildren();
  if (!words) return;
  const line = document.createElement("p");
  line.textContent = words;
  problem.append(line);
}

async function post(form) {
  asking?.abort();
  asking = null;
  const answer = await ask(form.action, { method: "POST", body: new FormData(form) });
  const html = await answer.text();
  if (answer.ok) {
    apply(html);
    online();
    later();
    return true;
  }
  const refused = new DOMParser().parseFromString(html, "text/html").querySelector("[data-code]");
  // After a refusal nothing was stored under the token, but for the one that says it was used for something else.
  if (refused?.dataset.code === "idempotency_key_reused") composer.elements.token.value = refused.dataset.token;
  complain(refused?.textContent.trim() || "This was not accepted. Load the page again; copy what you typed first.");
  return false;
}

if (composer) {
  const text = composer.elements.text;
  const send = composer.querySelector(".hub-send");
  const picture = composer.elements.picture;
  const attached = part("attached");
  const outlook = part("outlook");
  let busy = false;

  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    composer.requestSubmit();
  });

  composer.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy || (!text.value.trim() && !picture.files.length)) return;
    busy = true;
    send.setAttribute("aria-disabled", "true");
    complain("");
    const typed = text.value;
    try {
      if (await post(composer)) {
        // What was typed while this one was on its way is the next one.
        text.value = text.value.startsWith(typed) ? text.value.slice(typed.length) : text.value;
        composer.elements.token.value = composer.elements.token.dataset.next;
        picture.value = "";
        composer.elements.scheduled_at.value = "";
        part("later").open = false;
        showPicture();
        scroller.scrollTop = 0;
        look();
      }
    } catch (error) {
      lost(error);
      if (error.message !== "out") complain("It is not known whether this was sent. Send it again: it will not be sent twice.");
    } finally {
      busy = false;
      send.removeAttribute("aria-disabled");
      text.focus();
    }
  });

  // --- looking ahead ---

  let lookTimer = 0;
  let looking = null;
  let heard = outlook.textContent;

  async function look() {
    looking?.abort();
    const mine = (looking = new AbortController());
    const body = new FormData();
    body.set("csrfmiddlewaretoken", composer.elements.csrfmiddlewaretoken.value);
    body.set("text", text.value);
    try {
      const answer = await ask(composer.dataset.preview, { method: "POST", body, signal: mine.signal });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
      outlook.replaceChildren(...fresh.childNodes);
      const warned = [...outlook.querySelectorAll(".hub-outlook-warn, .hub-outlook-bad")];
      const words = warned.map((line) => line.textContent.trim()).join(" ");
      if (words && words !== heard && said) said.textContent = words;
      heard = words;
    } catch (error) {
      if (error.name !== "AbortError") lost(error);
    }
  }

  text.addEventListener("input", () => {
    complain("");
    clearTimeout(lookTimer);
    lookTimer = setTimeout(look, LOOK_AFTER_MS);
  });

  // --- a picture ---

  function showPicture() {
    const [file] = picture.files;
    attached.hidden = !file;
    if (file) attached.querySelector("span").textContent = file.name;
  }
  picture.addEventListener("change", showPicture);
  attached.querySelector("button").addEventListener("click", () => {
    picture.value = "";
    showPicture();
    picture.focus();
  });
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest?.(".hub-again");
  if (!form || !composer) return;
  event.preventDefault();
  const button = form.querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  complain("");
  try {
    await post(form);
  } catch (error) {
    lost(error);
  } finally {
    button.disabled = false;
  }
});
