// The page's program: place the order, then watch it being fried.

import { checkStatus, getDonuts, placeOrder } from "./api.js";
import { chosenDonuts, emptyBox, openMenu } from "./cart.js";
import { byId, copyOf, countOf, draw, showError } from "./page.js";

const POLL_MS = 2000; // the shop's terminal shows the spans of every poll: leave room for the order's
const TICK_MS = 250;

// The state of an order is that of its least advanced donut.
const STATES = {
  new_order: { word: "waiting", sentence: "In the queue: the fryer takes one donut at a time." },
  received: { word: "at the fryer", sentence: "The last donut is at the fryer." },
  cooking: { word: "cooking", sentence: "The last donut is cooking." },
  ready: { word: "ready", sentence: "Ready! Your donuts are still warm." },
};

let watched = null; // id of the order that is being fried on the page
let due = 0; // when it should be ready, on the clock of performance.now()

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const secondsLeft = () => Math.max(0, due - performance.now()) / 1000;

async function order() {
  const donuts = chosenDonuts();
  if (donuts.length === 0) return showError("Your box is empty: add a donut from the menu, then order.");
  const button = byId("order-button");
  button.disabled = true;
  try {
    watch(await placeOrder(donuts));
    emptyBox();
  } catch (refusal) {
    showError(refusal.message);
  } finally {
    button.disabled = false;
  }
}

function watch(placed) {
  watched = placed.order_id;
  due = performance.now() + placed.estimated_delivery_time * 1000;
  byId("progress").max = Math.max(1, placed.estimated_delivery_time);
  byId("order-id").textContent = placed.order_id;
  byId("donuts").replaceChildren();
  showError("");
  showState(placed.state);
  turnTo("order");
  poll(placed.order_id);
  tick(placed.order_id);
}

async function poll(orderId) {
  while (watched === orderId) {
    await ask(orderId);
    await sleep(untilNextPoll());
  }
}

async function ask(orderId) {
  try {
    // In this sequence, so that the donuts are never older than the state above them.
    const { state } = await checkStatus(orderId);
    const donuts = await getDonuts(orderId);
    if (watched === orderId) show(state, donuts);
  } catch (refusal) {
    if (watched !== orderId) return;
    showError(refusal.message);
    byId("new-order").hidden = false;
  }
}

// Near the end, the next poll is the one that finds the last donut done.
function untilNextPoll() {
  const end = secondsLeft() * 1000 + 100;
  return end < 2 * POLL_MS ? Math.max(POLL_MS, end) : POLL_MS;
}

// Between polls the countdown and the bar run on by themselves.
async function tick(orderId) {
  while (watched === orderId) {
    showTime();
    await sleep(TICK_MS);
  }
}

function show(state, donuts) {
  due = performance.now() + 1000 * Math.max(0, ...donuts.map((donut) => donut.ready_in));
  if (state === "ready") watched = null;
  donuts.forEach(showDonut);
  showError("");
  showState(state);
  showTime();
}

function showState(state) {
  byId("order").dataset.state = state;
  byId("state").textContent = STATES[state].sentence;
  byId("new-order").hidden = state !== "ready";
}

function showTime() {
  const seconds = Math.ceil(secondsLeft());
  const bar = byId("progress");
  bar.value = watched ? bar.max - secondsLeft() : bar.max;
  if (!watched) byId("countdown").textContent = "ready";
  else byId("countdown").textContent = seconds > 0 ? `${seconds} s` : "any moment";
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
  showError("");
  turnTo("shop");
}

function turnTo(part) {
  byId("shop").hidden = part !== "shop";
  byId("order").hidden = part !== "order";
  byId(part === "shop" ? "menu-title" : "order-title").focus();
}

openMenu();
byId("order-button").addEventListener("click", order);
byId("new-order").addEventListener("click", startAgain);
