// A command to be copied: a button, and the command as text, which can be selected where there is no clipboard.

import { make, say } from "./page.js";

let count = 0;

// Give { element, show }: show(text) puts a command into the element.
export function commandBox() {
  const id = `command-${++count}`;
  const button = make("button", { type: "button" }, "Copy as curl");
  const note = make("span", { role: "status", id: `${id}-note` });
  const text = make("code", {});
  const box = make("pre", { class: "command", tabindex: 0, role: "region", "aria-label": "The command" }, text);
  button.addEventListener("click", async () => say(note.id, await copied(text)));
  const element = make("div", {}, make("p", { class: "actions" }, button, note), box);
  return { element, show: (command) => show(command, text, note) };
}

function show(command, text, note) {
  if (text.textContent === command) return;
  text.textContent = command;
  note.textContent = "";
}

// A page that is neither on a loopback address nor on HTTPS has no clipboard.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text.textContent);
    return "Copied.";
  } catch {
    getSelection().selectAllChildren(text);
    return "This browser gives the page no clipboard: the command is selected, copy it with the keyboard.";
  }
}
