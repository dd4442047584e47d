// The counter: place the order, then watch it being fried.

import { checkStatus, placeOrder } from "./api.js";
import { chosenDonuts, emptyBox } from "./cart.js";
import { afterNextFrame, byId, copyOf, draw, say, sleep } from "./page.js";
import { follow, wide } from "./trace.js";

const POLL_MS = 2000; // the shop's terminal shows the spans of every poll: leave room for the order's
const FIRST_POLL_MS = 700; // by then the first donut is cooking
const TICK_MS = 250;

// The state of an order is that of its least advanced donut.
const STATES = {
  new_order: { word: "waiting", sentence: "The kitchen fries one donut at a time." },
  received: { word: "received", sentence: "The last donut is at the fryer." },
  cooking: { word: "cooking", sentence: "The last donut is cooking." },
  ready: { word: "ready", sentence: "Your donuts are ready, and still warm." },
};

let watched = null; // id of the order that is being fried on the page
let due = 0; // when it should be ready, on the clock of performance.now()

export function openCounter() {
  byId("order-button").addEventListener("click", order);
  byId("new-order").addEventListener("click", startAgain);
}

async function order() {
  const donuts = chosenDonuts();
  if (donuts.length === 0) return say("error", "Your box is empty: add a donut from the menu, then order.");
  const button = byId("order-button");
  button.disabled = true;
  say("error", "");
  byId("donuts").replaceChildren();
  try {
    watch(await placeOrder(donuts, follow));
    emptyBox();
    if (!wide.matches) byId("trace").scrollIntoView();
  } catch (refusal) {
    refuse(refusal);
  }
  button.disabled = false;
  afterNextFrame(() => button.focus()); // disabling took the focus away; a hidden button cannot get it
}

// Below 500 it is the box that must be changed, so it stays open. Otherwise the trace of the failure is of interest.
function refuse({ status, message }) {
  if (status >= 500) {
    byId("order").dataset.state = "failed";
    say("countdown", "Failed");
    turnTo("order");
  }
  say("error", message);
}

async function watch({ order_id, estimated_delivery_time, state, donuts }) {
  watched = order_id;
  byId("progress").max = Math.max(1, estimated_delivery_time);
  show(state, donuts);
  turnTo("order");
  let nextPoll = performance.now() + FIRST_POLL_MS;
  while (watched === order_id) {
    await sleep(TICK_MS);
    showTime(); // between polls the countdown and the bar run on by themselves
    if (performance.now() < nextPoll) continue;
    await ask(order_id);
    nextPoll = performance.now() + Math.min(POLL_MS, Math.max(FIRST_POLL_MS, due + 100 - performance.now()));
  }
}

async function ask(orderId) {
  try {
    const { state, donuts } = await checkStatus(orderId);
    if (watched === orderId) show(state, donuts);
  } catch (refusal) {
    if (watched === orderId) say("error", refusal.message);
  }
}

function show(state, donuts) {
  due = performance.now() + 1000 * Math.max(0, ...donuts.map((donut) => donut.ready_in));
  if (state === "ready") watched = null;
  donuts.forEach(showDonut);
  byId("order").dataset.state = state;
  say("error", "");
  say("state", STATES[state].sentence);
  showTime();
}

function showTime() {
  const left = Math.max(0, due - performance.now()) / 1000;
  const words = left > 0 ? `${Math.ceil(left)} s` : "any moment";
  byId("countdown").textContent = byId("order").dataset.state === "ready" ? "Ready!" : words;
  byId("progress").value = byId("progress").max - left;
}

function showDonut({ flavor, status }, index) {
  const list = byId("donuts");
  const tile = list.children[index] ?? list.appendChild(copyOf("tile"));
  tile.dataset.state = status;
  draw(tile, ".donut", flavor);
  draw(tile, ".icon", status);
  tile.querySelector(".flavor").textContent = flavor;
  tile.querySelector(".word").textContent = STATES[status].word;
}

function startAgain() {
  watched = null;
  say("error", "");
  turnTo("shop");
}

// Show the menu and the box, or the strip into which they fold.
function turnTo(part) {
  document.body.dataset.view = part;
  byId("shop").hidden = part !== "shop";
  byId("order").hidden = part !== "order";
  byId(part).querySelector("[role=status]").after(byId("error"));
  scrollTo(0, 0);
  afterNextFrame(() => byId(part).querySelector("h2").focus({ preventScroll: true })); // focus() takes time
}
