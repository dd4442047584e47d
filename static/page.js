// Pieces of index.html, by their ids.

export const byId = (id) => document.getElementById(id);

export const copyOf = (templateId) => byId(templateId).content.firstElementChild.cloneNode(true);

export function draw(parent, selector, drawing) {
  parent.querySelector(`${selector} use`).setAttribute("href", `#${drawing}`);
}

export function showError(sentence) {
  byId("error").textContent = sentence;
}

export const countOf = (number) => (number === 1 ? "1 donut" : `${number} donuts`);
