// The side: the table of magic numbers, and the log of webhooks.

import { clock, load, make, onNews, state, tell } from "/state.js";

export const faultLabels = new Map();

export async function showFaults() {
  const { numbers, area_codes: areas } = await load("faults");
  const groups = new Map();
  for (const fault of numbers) {
    faultLabels.set(fault.name, fault.label);
    groups.set(fault.group, [...(groups.get(fault.group) ?? []), fault]);
  }
  const room = document.getElementById("fault-numbers");
  for (const [group, faults] of groups) {
    const items = faults.map((fault) => item(fault, `…${fault.digits}`, fault.number));
    room.append(make("h3", {}, group), make("ul", { class: "faults" }, ...items));
  }
  document.getElementById("fault-areas").append(...areas.map((fault) => item(fault, fault.area_code, fault.area_code)));
}

function item(fault, shown, copied) {
  const button = make(
    "button",
    { class: "code", type: "button", "aria-label": `Copy ${copied}: ${fault.label}`, title: copied, onclick: () => copy(copied) },
    shown,
  );
  return make("li", {}, button, make("div", {}, make("b", {}, fault.label), make("span", {}, fault.effect)));
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell(`Copied ${text}`);
  } catch {
    tell(text);
  }
}

const shown = new Map();

function showLog(news) {
  const log = document.getElementById("log");
  if (news.full) {
    shown.clear();
    log.replaceChildren();
  }
  for (const delivery of news.deliveries) {
    const row = entry(delivery);
    shown.set(delivery.version, row);
    log.prepend(row);
  }
  const oldest = state.deliveries[0]?.version ?? Infinity;
  for (const [version, row] of shown) {
    if (version >= oldest) break;
    row.remove();
    shown.delete(version);
  }
  document.getElementById("log-count").textContent = state.deliveries.length || "";
  document.getElementById("log-empty").hidden = state.deliveries.length > 0;
}

function entry(delivery) {
  const good = delivery.status !== null && delivery.status < 300;
  const outcome = make("span", { class: good ? "outcome" : "outcome bad" }, String(delivery.status ?? "none"));
  const tries = delivery.attempt > 1 ? `, try ${delivery.attempt}` : "";
  const later = delivery.again ? ", tried again later" : "";
  const failure = delivery.error ? `, ${delivery.error}` : "";
  const row = make(
    "details", {},
    make(
      "summary", {}, outcome,
      make("span", { class: "what" }, delivery.summary, make("span", { class: "kind" }, ` ${delivery.type}`)),
      make("time", { datetime: delivery.at }, clock(delivery.at, true)),
      make("span", { class: "where" }, `${delivery.url}, ${delivery.ms} ms${failure}${tries}${later}`),
    ),
  );
  row.addEventListener("toggle", () => {
    if (row.open && row.childElementCount === 1) {
      row.append(make("pre", { tabindex: "0" }, JSON.stringify(JSON.parse(delivery.body), null, 2)));
    }
  });
  return make("li", {}, row);
}

export function showPanels() {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const choose = (tab) => {
    for (const one of tabs) {
      const chosen = one === tab;
      one.setAttribute("aria-selected", String(chosen));
      one.tabIndex = chosen ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = !chosen;
    }
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
      const next = tabs[(index + 1) % tabs.length];
      choose(next);
      next.focus();
    });
  }
  onNews(showLog);
}
