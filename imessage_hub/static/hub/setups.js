// A new setup: the steps while it is made. The page of one that is there follows by live.js.

const STEP_POLL_MS = 500;
const STATE_WORDS = { done: "done", now: "under way", failed: "not done", waiting: "" };

const said = document.getElementById("hub-said");
const say = (words) => {
  if (said && words) said.textContent = words;
};

const steps = () => document.getElementById("setup-steps");

steps()
  ?.closest("form")
  .addEventListener("submit", (event) => {
    const form = event.currentTarget;
    if (!form.checkValidity()) return; // the server says what is wrong
    event.preventDefault();
    if (form.getAttribute("aria-busy") !== "true") make(form);
  });

function show(states) {
  for (const { name, words, state } of states) {
    const item = steps().querySelector(`[data-step="${name}"]`);
    if (item.dataset.state === state) continue;
    item.dataset.state = state;
    item.querySelector("[data-state-words]").textContent = STATE_WORDS[state];
    if (state === "done" || state === "failed") say(`${words}: ${STATE_WORDS[state]}`);
  }
}

async function progress(id) {
  const answer = await fetch(`${steps().dataset.url}?id=${encodeURIComponent(id)}`, { headers: { "X-Hub-Background": "1" } });
  if (!answer.ok || answer.redirected) return { steps: [], page: "" };
  return answer.json();
}

function busy(form, is) {
  form.setAttribute("aria-busy", String(is));
  steps().hidden = !is;
  for (const part of form.querySelectorAll("fieldset, .submit-row, .errornote:not(#setup-trouble), .errorlist")) part.hidden = is;
  if (is) steps().focus();
}

async function make(form) {
  const sent = new FormData(form);
  const id = sent.get("setup_id");
  document.getElementById("setup-trouble").hidden = true;
  busy(form, true);
  say("Setting up");
  let over = false;
  const watch = async () => {
    if (over) return;
    try {
      show((await progress(id)).steps);
    } catch {
      // The next one may come through.
    }
    if (!over) setTimeout(watch, STEP_POLL_MS);
  };
  setTimeout(watch, STEP_POLL_MS / 2);
  try {
    const answer = await fetch(form.getAttribute("action") || location.href, {
      method: "POST",
      body: sent,
      headers: { Accept: "application/json" },
    });
    over = true;
    if (answer.headers.get("Content-Type")?.includes("json")) {
      location.assign((await answer.json()).page);
      return;
    }
    redraw(form, await answer.text());
  } catch {
    over = true;
    await lost(form, id);
  }
}

// The form came back with what is wrong in it.
function redraw(form, text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("#content-main form");
  if (!fresh) {
    location.reload();
    return;
  }
  form.replaceChildren(...fresh.childNodes);
  form.setAttribute("aria-busy", "false");
  form.querySelector(".errors :is(input, select)")?.focus();
  say(form.querySelector(".errornote")?.textContent.trim());
}

// No answer came: the setup may be there all the same, and sending the form again makes no second one.
async function lost(form, id) {
  let page = "";
  try {
    page = (await progress(id)).page;
  } catch {
    // Still out of reach.
  }
  if (page) {
    location.assign(page);
    return;
  }
  busy(form, false);
  const trouble = document.getElementById("setup-trouble");
  trouble.textContent = "The connection was lost. Press Create once more: it makes no second account.";
  trouble.hidden = false;
}
