// Pieces of index.html, by their ids.

export const byId = (id) => document.getElementById(id);

export const copyOf = (templateId) => byId(templateId).content.firstElementChild.cloneNode(true);

export function draw(parent, selector, drawing) {
  parent.querySelector(`${selector} use`).setAttribute("href", `#${drawing}`);
}

// Screen readers read out each new text of these places, so an old one is not set again.
export function say(id, sentence) {
  const place = byId(id);
  if (place.textContent !== sentence) place.textContent = sentence;
}
