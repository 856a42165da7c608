// One open conversation, seen from the line: what the hub sent is blue, what the customer wrote is grey.

import { act, icon, make, spaced, state, talkOf, tell, upload } from "/state.js";

const REACTIONS = { love: "♥", like: "👍", dislike: "👎", laugh: "Ha", emphasize: "!!", question: "?" };
const MARKS = { QUEUED: "Sending", SENT: "Sent", DELIVERED: "Delivered", READ: "Read", DECLINED: "Declined" };
const SMILE = "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM7 11.5c1.5 2.3 4.5 2.3 6 0M7.6 7.8v.1M12.4 7.8v.1";
const CLIP = "M14.5 9.5l-5 5a3.2 3.2 0 0 1-4.5-4.5l6-6a2.2 2.2 0 0 1 3.1 3.1l-5.9 5.9a1.1 1.1 0 0 1-1.6-1.6l4.9-4.9";
const ARROW = "M10 16V4.5M5 9.5l5-5 5 5";
const CROSS = "M6 6l8 8M14 6l-8 8";

export class Talk {
  constructor(line, customer, onBack) {
    this.line = line;
    this.customer = customer;
    this.rows = new Map();
    this.picture = null;
    this.timer = 0;
    const back = make("button", { class: "plain", type: "button", onclick: onBack }, "Back");
    this.read = make("button", { class: "plain", type: "button", onclick: () => act("read", this.both()) }, "Read");
    this.read.title = "Read everything delivered so far. The real provider isn't known to report this.";
    this.thread = make("div", { class: "thread", role: "log", "aria-label": `Conversation with ${spaced(customer)}`, tabindex: "0" });
    this.pinned = true; // at the newest message, and to be kept there
    this.thread.addEventListener("scroll", () => {
      this.pinned = this.thread.scrollHeight - this.thread.scrollTop - this.thread.clientHeight < 60;
    });
    this.dots = { customer: dots("in", "The customer is typing"), business: dots("out", "The business is typing") };
    this.thread.append(this.dots.business, this.dots.customer);
    this.root = make("div", { class: "talk" }, make("header", {}, back, make("h3", {}, spaced(customer)), this.read), this.thread, this.buildReply());
  }

  both() {
    return { line: this.line, customer: this.customer };
  }

  buildReply() {
    const name = `reply-${this.line}-${this.customer}`;
    this.field = make("textarea", { id: name, rows: "1", placeholder: "Message" });
    this.field.addEventListener("input", () => this.fit());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.send();
      }
    });
    this.typing = make("button", { class: "plain", type: "button", "aria-pressed": "false" }, "Typing");
    this.typing.title = "Show typing dots for this customer";
    this.typing.addEventListener("click", () => {
      act("typing", { ...this.both(), typing: this.typing.getAttribute("aria-pressed") !== "true" });
    });
    this.file = make("input", { type: "file", accept: "image/png,image/jpeg,image/gif,image/webp", tabindex: "-1", class: "unseen", "aria-hidden": "true" });
    this.file.addEventListener("change", () => this.attach());
    const clip = make("button", { class: "round", type: "button", "aria-label": "Attach a picture", onclick: () => this.file.click() }, icon(CLIP));
    this.button = make("button", { class: "round send", type: "submit", "aria-label": "Send", disabled: true }, icon(ARROW));
    this.attached = make("div", { class: "attached", hidden: true });
    const label = make("label", { for: name }, `Reply as ${spaced(this.customer)}`);
    const submit = (event) => {
      event.preventDefault();
      this.send();
    };
    return make(
      "form", { class: "reply", onsubmit: submit },
      make("div", { class: "as" }, label, this.typing), this.attached,
      make("div", { class: "field" }, clip, this.file, this.field, this.button),
    );
  }

  fit() {
    this.button.disabled = !this.field.value.trim() && !this.picture;
    this.field.style.height = "";
    this.field.style.height = `${Math.min(this.field.scrollHeight + 2, 120)}px`;
  }

  async attach() {
    const file = this.file.files[0];
    this.file.value = "";
    if (!file) return;
    const stored = await upload(file);
    if (!stored) return;
    this.picture = stored.url;
    const remove = make("button", { class: "round", type: "button", "aria-label": "Remove the picture", onclick: () => this.detach() }, icon(CROSS));
    this.attached.replaceChildren(make("img", { src: stored.url, alt: "Picture to send" }), remove);
    this.attached.hidden = false;
    this.fit();
    this.field.focus();
  }

  detach() {
    this.picture = null;
    this.attached.hidden = true;
    this.attached.replaceChildren();
    this.fit();
  }

  async send() {
    const text = this.field.value.trim();
    if (this.busy || (!text && !this.picture)) return;
    this.busy = true;
    const sent = await act("reply", { ...this.both(), text, media_url: this.picture ?? "" });
    this.busy = false;
    if (!sent) return;
    if (this.field.value.trim() === text) this.field.value = "";
    this.detach();
    this.thread.scrollTop = this.thread.scrollHeight;
  }

  focus() {
    this.field.focus({ preventScroll: true });
    this.thread.scrollTop = this.thread.scrollHeight;
  }

  close() {
    clearTimeout(this.timer);
    this.root.remove();
  }

  update(faultLabels) {
    const texts = [...(talkOf(this.line, this.customer)?.texts.values() ?? [])].filter((text) => !text.tapback_of);
    const lastOut = texts.findLast((text) => text.is_outbound);
    const lastRead = texts.findLast((text) => text.is_outbound && text.read);
    const lastSeen = texts.findLast((text) => !text.is_outbound && text.read);
    texts.forEach((text, index) => {
      const row = this.rows.get(text.handle) ?? this.buildRow(text);
      row.classList.toggle("turn", index > 0 && texts[index - 1].is_outbound !== text.is_outbound);
      row.classList.toggle("tail", texts[index + 1]?.is_outbound !== text.is_outbound);
      row.update(text, faultLabels, { marked: [lastOut, lastRead, lastSeen].includes(text) });
      if (this.thread.children[index] !== row) this.thread.insertBefore(row, this.thread.children[index] ?? null);
    });
    this.read.disabled = !texts.some((text) => text.is_outbound && text.status === "DELIVERED");
    this.updateTyping();
    if (this.pinned) this.thread.scrollTop = this.thread.scrollHeight;
  }

  updateTyping() {
    clearTimeout(this.timer);
    const now = Date.now();
    const here = state.typing.filter((one) => one.line === this.line && one.customer === this.customer && one.until > now);
    for (const [who, element] of Object.entries(this.dots)) element.hidden = !here.some((one) => one.who === who);
    this.typing.setAttribute("aria-pressed", String(!this.dots.customer.hidden));
    if (here.length) this.timer = setTimeout(() => this.updateTyping(), Math.min(...here.map((one) => one.until - now)) + 20);
  }

  buildRow(text) {
    const row = make("div", { class: `text ${text.is_outbound ? "out" : "in"}` });
    const body = make("div", { class: "body" });
    if (text.media_url) body.append(this.showPicture(text.media_url));
    if (text.content) body.append(make("div", { class: "bubble" }, text.content));
    const reaction = make("span", { class: "reaction", hidden: true });
    const mark = make("div", { class: "mark", hidden: true });
    const whole = make("div", { class: "whole" }, body, reaction);
    if (text.is_outbound) whole.append(this.reactButton(text, row));
    row.append(whole, mark);
    row.update = (news, faultLabels, { marked }) => {
      row.classList.toggle("sms", news.service !== "iMessage");
      row.classList.toggle("failed", ["ERROR", "DECLINED"].includes(news.status));
      row.classList.toggle("reacted", Boolean(news.reaction));
      reaction.hidden = !news.reaction;
      setText(reaction, REACTIONS[news.reaction] ?? "");
      reaction.title = news.reaction ?? "";
      const words = markOf(news, faultLabels, marked);
      mark.hidden = !words;
      mark.classList.toggle("bad", row.classList.contains("failed"));
      setText(mark, words);
    };
    this.rows.set(text.handle, row);
    return row;
  }

  showPicture(url) {
    const image = make("img", { class: "picture", src: url, alt: "Picture" });
    image.addEventListener("load", () => {
      if (this.pinned) this.thread.scrollTop = this.thread.scrollHeight;
    });
    image.addEventListener("error", () => image.replaceWith(make("div", { class: "no-picture" }, url)), { once: true });
    return image;
  }

  reactButton(text, row) {
    const close = () => {
      row.querySelector(".chips")?.remove();
      button.setAttribute("aria-expanded", "false");
    };
    const button = make("button", { class: "round hold", type: "button", "aria-label": "React to this message", "aria-expanded": "false" }, icon(SMILE));
    button.addEventListener("click", () => {
      if (row.querySelector(".chips")) return close();
      const chips = Object.entries(REACTIONS).map(([name, shown]) =>
        make("button", { type: "button", "aria-label": name, title: name, onclick: () => {
          act("react", { handle: text.handle, reaction: name });
          close();
          button.focus();
        } }, shown));
      row.prepend(make("div", { class: "chips", role: "group", "aria-label": "Reactions" }, ...chips));
      button.setAttribute("aria-expanded", "true");
      row.scrollIntoView({ block: "nearest" });
      return chips[0].focus();
    });
    row.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && row.querySelector(".chips")) {
        close();
        button.focus();
      }
    });
    return button;
  }
}

function markOf(text, faultLabels, marked) {
  const parts = [];
  if (!text.is_outbound) return text.read && marked ? "Read by the business" : "";
  if (text.status === "ERROR") parts.push(`Not delivered${text.error_code ? ` (${text.error_code})` : ""}`);
  else if (marked || text.status === "DECLINED") parts.push(MARKS[text.status] ?? text.status);
  if (text.service !== "iMessage") parts.push("as SMS");
  if (text.shown_from) parts.push(`from ${spaced(text.shown_from)}`);
  if (text.fault) parts.push(`fault: ${faultLabels.get(text.fault) ?? text.fault}`);
  return parts.join(" · ");
}

function dots(side, words) {
  const three = make("span", { class: "dots", role: "img", "aria-label": words }, make("i"), make("i"), make("i"));
  return make("div", { class: `text ${side} turn`, hidden: true }, three);
}

function setText(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
