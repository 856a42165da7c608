// What the sandbox knows, kept up to date by a long poll, and the requests that change it.

export const state = {
  accounts: [], // [{id, company_name, lines: [{request_id, number, status, area_code}]}]
  talks: new Map(), // "line customer" → {line, customer, texts: Map(handle → message, oldest first)}
  typing: [],
  deliveries: [],
};

const listeners = [];
let version = 0;
let epoch = "";

export function onNews(listener) {
  listeners.push(listener);
}

export function talkOf(line, customer) {
  return state.talks.get(`${line} ${customer}`);
}

export function talksOf(line) {
  const own = [...state.talks.values()].filter((talk) => talk.line === line && talk.texts.size);
  const newest = (talk) => [...talk.texts.values()].at(-1).id;
  return own.sort((one, other) => newest(other) - newest(one));
}

function take(news) {
  if (news.full) {
    state.talks.clear();
    state.deliveries = [];
  }
  ({ version, epoch } = news);
  state.accounts = news.accounts;
  state.deliveries = [...state.deliveries, ...news.deliveries].slice(-300);
  const now = Date.now();
  state.typing = news.typing.map((one) => ({ ...one, until: now + one.left_s * 1000 }));
  for (const line of news.accounts.flatMap((account) => account.lines)) {
    for (const { number, messages } of line.conversations) {
      const key = `${line.number} ${number}`;
      const talk = state.talks.get(key) ?? { line: line.number, customer: number, texts: new Map() };
      for (const message of messages) talk.texts.set(message.handle, message);
      const ordered = [...talk.texts.values()].sort((one, other) => one.id - other.id);
      talk.texts = new Map(ordered.map((message) => [message.handle, message]));
      state.talks.set(key, talk);
    }
  }
  for (const listener of listeners) listener(news);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function follow(onLink) {
  for (let failures = 0; ; ) {
    try {
      const answer = await fetch(`/_sandbox/state?since=${version}&epoch=${epoch}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const news = await answer.json();
      failures = 0;
      onLink(true);
      take(news);
      await pause(120);
    } catch (error) {
      if (!(error instanceof TypeError) && !/^\d+$/.test(error.message)) console.error(error);
      failures += 1;
      onLink(false);
      await pause(Math.min(500 * failures, 4000));
    }
  }
}

export async function load(name) {
  const answer = await fetch(`/_sandbox/${name}`);
  return answer.json();
}

// Resolves to the answer, or null after telling why it failed.
export async function act(name, values) {
  return request(name, "application/json", JSON.stringify(values));
}

export async function upload(file) {
  return request("upload", file.type, file);
}

async function request(name, type, body) {
  try {
    const answer = await fetch(`/_sandbox/${name}`, { method: "POST", headers: { "content-type": type }, body });
    const value = await answer.json();
    if (answer.ok) return value;
    tell(value.error?.detail ?? value.message ?? "That didn't work.");
  } catch {
    tell("The sandbox doesn't answer. Is it running?");
  }
  return null;
}

let noticeTimer = 0;

export function tell(words) {
  const notice = document.getElementById("notice");
  notice.textContent = words;
  notice.classList.add("shown");
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => notice.classList.remove("shown"), 3200);
}

// Small tools for building elements; text only ever becomes text.
export function make(tag, values = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function icon(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "path");
  for (const [name, value] of Object.entries({
    d: path, fill: "none", stroke: "currentColor", "stroke-width": "1.8", "stroke-linecap": "round",
    "stroke-linejoin": "round",
  })) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

export function spaced(number) {
  const match = /^\+1(\d{3})(\d{3})(\d{4})$/.exec(number ?? "");
  return match ? `+1 ${match[1]} ${match[2]} ${match[3]}` : number ?? "";
}

export function clock(at, seconds = false) {
  const moment = new Date(at);
  const today = moment.toDateString() === new Date().toDateString();
  if (seconds) return moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return today
    ? moment.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" })
    : moment.toLocaleDateString([], { month: "short", day: "numeric" });
}
