// The phones: one per line, each with its list of contacts and one open conversation.

import { faultLabels, showFaults, showPanels } from "/panels.js";
import { act, clock, follow, make, onNews, spaced, state, talksOf, tell } from "/state.js";
import { Talk } from "/talk.js";

const STATUSES = { ONLINE: "Online", DEGRADED: "Degraded", OFFLINE: "Offline", BLOCKED: "Blocked" };
const E164 = /^\+[1-9]\d{6,14}$/;

class Phone {
  constructor(line, company) {
    this.line = line;
    this.company = company;
    this.root = make("article", { class: "phone" });
    this.talk = null;
    this.rows = new Map();
    this.build();
  }

  build() {
    this.root.replaceChildren();
    this.root.classList.toggle("pending", !this.line.number);
    if (!this.line.number) return this.buildPending();
    this.root.setAttribute("aria-label", `${this.company}, line ${spaced(this.line.number)}`);
    this.status = make("select", { "aria-label": `Status of line ${spaced(this.line.number)}` });
    for (const [value, words] of Object.entries(STATUSES)) this.status.append(make("option", { value }, words));
    this.status.addEventListener("change", async () => {
      const done = await act("line-status", { line: this.line.number, status: this.status.value });
      if (!done) this.update(this.line);
    });
    this.list = make("ul", { "aria-label": "Conversations" });
    this.hint = make("p", { class: "hint" }, "No conversation yet. Text this line as a customer, or send from the hub.");
    this.contacts = make("div", { class: "contacts" }, this.hint, this.list, this.buildBegin());
    const bar = make("div", { class: "bar" }, make("span", { class: "own" }, spaced(this.line.number)), this.status);
    this.screen = make("div", { class: "screen" }, bar, this.contacts);
    this.root.append(this.screen);
    return undefined;
  }

  buildPending() {
    this.root.setAttribute("aria-label", `${this.company}, line without a number`);
    const wish = this.line.area_code ? `Area code ${this.line.area_code} was asked for.` : "No area code was asked for.";
    const place = make("button", { class: "solid", type: "button", onclick: async () => {
      place.disabled = true;
      await act("place", { request_id: this.line.request_id });
      place.disabled = false;
    } }, "Place a number");
    const words = make("p", { class: "waiting" }, "Waiting for a number");
    this.root.append(make("div", { class: "screen" }, words, make("p", {}, wish), place));
  }

  buildBegin() {
    const field = make("input", { inputmode: "tel", placeholder: "+12125550123", autocomplete: "off", spellcheck: "false" });
    const begin = (event) => {
      event.preventDefault();
      const number = field.value.replace(/[\s().-]/g, "");
      if (!E164.test(number)) {
        tell("A customer's number looks like +12125550123.");
        field.focus();
        return;
      }
      field.value = "";
      this.open(number);
    };
    const label = make("label", {}, "Text this line as", field);
    return make("form", { class: "begin", novalidate: "", onsubmit: begin }, label, make("button", { class: "solid", type: "submit" }, "Start"));
  }

  open(customer) {
    this.talk?.close();
    this.talk = new Talk(this.line.number, customer, () => this.shut());
    this.contacts.hidden = true;
    this.screen.append(this.talk.root);
    this.talk.update(faultLabels);
    this.talk.focus();
  }

  shut() {
    const customer = this.talk?.customer;
    this.talk?.close();
    this.talk = null;
    this.contacts.hidden = false;
    this.updateList();
    this.rows.get(customer)?.firstElementChild.focus();
  }

  update(line) {
    const placed = !this.line.number && line.number;
    this.line = line;
    if (placed) this.build();
    this.root.dataset.status = line.status;
    if (!line.number) return;
    if (this.status !== document.activeElement) this.status.value = line.status;
    if (this.talk) this.talk.update(faultLabels);
    else this.updateList();
  }

  updateList() {
    const talks = talksOf(this.line.number);
    this.hint.hidden = talks.length > 0;
    this.list.hidden = talks.length === 0;
    const order = talks.map((talk) => {
      const row = this.rows.get(talk.customer) ?? this.buildRow(talk.customer);
      const last = [...talk.texts.values()].at(-1);
      row.last.textContent = last.content || (last.media_url ? "Picture" : "");
      row.time.textContent = clock(last.at);
      row.time.dateTime = last.at;
      return row;
    });
    if (order.some((row, index) => this.list.children[index] !== row)) {
      const focused = document.activeElement;
      this.list.replaceChildren(...order);
      if (this.list.contains(focused)) focused.focus();
    }
  }

  buildRow(customer) {
    const row = make("li");
    row.last = make("span", { class: "last" });
    row.time = make("time");
    const face = make("span", { class: "face", "aria-hidden": "true" }, customer.slice(-2));
    const words = make("span", { class: "words" }, make("span", { class: "who" }, spaced(customer)), row.last);
    row.append(make("button", { class: "contact", type: "button", onclick: () => this.open(customer) }, face, words, row.time));
    this.rows.set(customer, row);
    return row;
  }

  matches(wanted) {
    if (!wanted) return true;
    const digits = wanted.replace(/[\s().-]/g, "");
    return this.company.toLowerCase().includes(wanted)
      || (/\d/.test(digits) && (this.line.number ?? "").includes(digits))
      || (/\d/.test(digits) && Boolean(talksOf(this.line.number).some((talk) => talk.customer.includes(digits))));
  }
}

const phones = new Map();
const companies = new Map();
const room = document.getElementById("phones");
const filter = document.getElementById("filter");

function company(account) {
  const known = companies.get(account.id);
  if (known) return known;
  const add = make("button", { class: "plain", type: "button", onclick: () => act("add-line", { account: account.id }) }, "Add a line");
  add.setAttribute("aria-label", `Add a line to ${account.company_name}`);
  const rows = make("div", { class: "rows" });
  const root = make("section", { class: "company" }, make("header", {}, make("h2", {}, account.company_name), add), rows);
  room.append(root);
  companies.set(account.id, { root, rows });
  return companies.get(account.id);
}

function show(news) {
  if (news.full && phones.size) {
    for (const { root } of companies.values()) root.remove();
    phones.clear();
    companies.clear();
  }
  for (const account of state.accounts) {
    const { rows } = company(account);
    for (const line of account.lines) {
      let phone = phones.get(line.request_id);
      if (!phone) {
        phone = new Phone(line, account.company_name);
        phones.set(line.request_id, phone);
        rows.append(phone.root);
      }
      phone.update(line);
    }
  }
  document.getElementById("empty").hidden = companies.size > 0;
  sift();
}

function sift() {
  const wanted = filter.value.trim().toLowerCase();
  for (const phone of phones.values()) phone.root.hidden = !phone.matches(wanted);
  let any = false;
  for (const [id, { root, rows }] of companies) {
    const name = state.accounts.find((account) => account.id === id)?.company_name.toLowerCase() ?? "";
    root.hidden = Boolean(wanted) && !name.includes(wanted) && [...rows.children].every((phone) => phone.hidden);
    any ||= !root.hidden;
  }
  document.getElementById("nothing").hidden = any || companies.size === 0;
}

function showLink(live) {
  const link = document.getElementById("link");
  link.classList.toggle("live", live);
  link.classList.toggle("lost", !live);
  const words = live ? "Live" : "No connection";
  const text = document.getElementById("link-text");
  if (text.textContent !== words) text.textContent = words;
}

filter.addEventListener("input", sift);
showPanels();
onNews(show);
await showFaults().catch(() => tell("The list of magic numbers can't be read."));
follow(showLink);
