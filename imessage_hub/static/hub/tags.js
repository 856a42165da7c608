// The tag field: chips with a button that removes each. The text field stays, hidden, and is what the form sends.

function split(text) {
  const names = [];
  let name = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const mark = text[i];
    if (quoted && mark === '"' && text[i + 1] === '"') name += text[++i];
    else if (quoted && mark === '"') quoted = false;
    else if (!quoted && mark === '"' && name.trim() === "") [quoted, name] = [true, ""];
    else if (!quoted && mark === ",") { names.push(name); name = ""; }
    else name += mark;
  }
  return [...names, name].map((one) => one.trim().replace(/\s+/g, " ")).filter(Boolean);
}

function join(names) {
  return names.map((name) => (/[",]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name)).join(", ");
}

function dress(field) {
  const known = document.getElementById(field.dataset.tags);
  const options = [...(known?.options ?? [])].map((option) => option.value);
  const label = document.querySelector(`label[for="${field.id}"]`);
  const box = document.createElement("div");
  box.className = "hub-chips";
  const input = document.createElement("input");
  input.type = "text";
  input.className = "hub-chip-input";
  input.id = `${field.id}-new`;
  input.maxLength = 100;
  input.autocomplete = "off";
  input.setAttribute("list", field.dataset.tags);
  if (!label) input.setAttribute("aria-label", "Add a tag");
  input.placeholder = "Add a tag";
  const help = document.getElementById(`${field.id}_helptext`);
  if (help) { help.textContent = "Enter or a comma adds the tag; Backspace takes the last one."; input.setAttribute("aria-describedby", help.id); }
  let names = [...new Set(split(field.value))];
  const untouched = join(names);

  function draw() {
    // What nobody changed is sent as it came.
    if (join(names) !== untouched || field.dataset.touched) { field.dataset.touched = "1"; field.value = join(names); }
    if (known) known.replaceChildren(...options.filter((one) => !names.includes(one)).map((one) => new Option("", one)));
    box.replaceChildren(...names.map(chip), input);
  }
  function chip(name) {
    const shown = document.createElement("span");
    shown.className = "hub-chip";
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.addEventListener("click", () => { names = names.filter((one) => one !== name); draw(); input.focus(); });
    shown.append(name, remove);
    return shown;
  }
  function take() {
    const typed = split(input.value);
    if (!typed.length) { input.value = ""; return false; }
    names = [...new Set([...names, ...typed])];
    input.value = "";
    draw();
    return true;
  }
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && input.value.trim()) { event.preventDefault(); take(); input.focus(); }
    else if (event.key === "Backspace" && !input.value && names.length) { names = names.slice(0, -1); draw(); input.focus(); }
  });
  input.addEventListener("input", (event) => {
    const chosen = event.inputType === "insertReplacementText" || !event.inputType;
    const closed = /,\s*$/.test(input.value) && (input.value.match(/"/g) ?? []).length % 2 === 0;
    if (closed || (chosen && options.includes(input.value))) { take(); input.focus(); }
  });
  field.form.addEventListener("submit", take, true);
  box.addEventListener("click", (event) => { if (event.target === box) input.focus(); });
  if (label) label.htmlFor = input.id;
  field.hidden = true;
  field.tabIndex = -1;
  field.after(box);
  draw();
}

document.querySelectorAll("input[data-tags]").forEach(dress);
