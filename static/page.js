// Pieces of index.html, by their ids.

export const byId = (id) => document.getElementById(id);
export const copyOf = (templateId) => byId(templateId).content.firstElementChild.cloneNode(true);

export function draw(parent, selector, drawing) {
  parent.querySelector(`${selector} use`).setAttribute("href", `/static/drawings.svg#${drawing}`);
}

// Screen readers read out each new text of these places, so an old one is not set again.
export function say(id, sentence) {
  const place = byId(id);
  if (place.textContent !== sentence) place.textContent = sentence;
}

export const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
export const afterNextFrame = (work) => requestAnimationFrame(() => requestAnimationFrame(work));

// A new element with attributes and content, but for those that are null. Strings become text, whatever they hold, and
// never markup.
export function make(tag, attributes, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...content.filter((each) => each !== null && each !== undefined));
  return element;
}

// A term and what there is to say of it, for a <dl>.
export const fact = (term, ...words) => make("div", {}, make("dt", {}, term), make("dd", {}, ...words));
export const failure = (sentence) => make("span", { class: "failed" }, sentence);
