// What every page of the admin can do: the menu of narrow pages, menus that close, text that copies itself.

const side = document.getElementById("hub-side");
const opener = document.getElementById("hub-open");

function show(open) {
  side.toggleAttribute("data-open", open);
  opener.setAttribute("aria-expanded", String(open));
  if (open) side.querySelector("a").focus();
  else opener.focus();
}

if (side && opener) {
  opener.addEventListener("click", () => show(!side.hasAttribute("data-open")));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && side.hasAttribute("data-open")) show(false);
  });
  document.addEventListener("click", (event) => {
    const outside = !side.contains(event.target) && !opener.contains(event.target);
    if (outside && side.hasAttribute("data-open")) show(false);
  });
}

// <details class="hub-menu">: one at a time, gone by Escape or a click elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.hub-menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.hub-menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// <button data-copy="text">: copies, and says so, to the eye and to a screen reader.
const said = document.getElementById("hub-said");
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  event.preventDefault();
  await navigator.clipboard.writeText(button.dataset.copy);
  button.dataset.copied = "";
  if (said) said.textContent = `Copied ${button.dataset.copyAs ?? button.dataset.copy}`;
  setTimeout(() => delete button.dataset.copied, 1500);
});

// <input data-filter>: a change sends its form, as a click on any other filter does.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});
