// The menu and the box: what a visitor chooses before there is an order.

import { byId, copyOf, draw, say } from "./page.js";

const choices = new Map(); // flavor -> { quantity, card, line }

export function openMenu() {
  for (const card of document.querySelectorAll("[data-flavor]")) {
    const { flavor } = card.dataset;
    const line = newLine(flavor);
    card.append(withClick(copyOf("add"), `Add one ${flavor}`, () => change(flavor, +1)));
    byId("lines").append(line);
    choices.set(flavor, { quantity: 0, card, line });
  }
  emptyBox();
  byId("cart").hidden = false;
}

export const chosenDonuts = () =>
  [...choices].map(([flavor, { quantity }]) => ({ flavor, quantity })).filter(({ quantity }) => quantity > 0);

export function emptyBox() {
  for (const flavor of choices.keys()) setQuantity(flavor, 0);
}

function newLine(flavor) {
  const line = copyOf("line");
  draw(line, ".donut", flavor);
  line.querySelector(".flavor").textContent = flavor;
  withClick(line.querySelector(".remove"), `Remove one ${flavor}`, () => change(flavor, -1));
  withClick(line.querySelector(".add"), `Add one ${flavor}`, () => change(flavor, +1));
  return line;
}

function withClick(button, name, action) {
  button.ariaLabel = name;
  button.addEventListener("click", action);
  return button;
}

function change(flavor, by) {
  const quantity = choices.get(flavor).quantity + by;
  setQuantity(flavor, quantity);
  say("error", "");
  // The line is gone now, and the button that had the focus with it.
  if (quantity === 0) byId("cart-title").focus();
}

function setQuantity(flavor, quantity) {
  const choice = choices.get(flavor);
  choice.quantity = quantity;
  choice.card.dataset.quantity = quantity;
  choice.line.hidden = quantity === 0;
  choice.line.querySelector(".quantity").textContent = quantity;
  const total = chosenDonuts().reduce((sum, each) => sum + each.quantity, 0);
  say("total", total === 0 ? "Nothing in it yet" : `${total} ${total === 1 ? "donut" : "donuts"} in all`);
}
