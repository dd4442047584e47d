// The panel "Send a header of your own". Headers are taken apart while they are typed, and sent with an order. What
// came of them is observed, and compared with what the visitor predicted.

import { getPropagationFields, placeOrder } from "./api.js";
import { commandBox, curlCommand } from "./curl.js";
import { headerLine, partList } from "./decoded.js";
import { headersFor, observe } from "./experiments.js";
import { canBeSent, decode, isFaulty, readServerTiming } from "./headers.js";
import { byId, failure, make, say } from "./page.js";
import { follow } from "./trace.js";

const DONUTS = [{ flavor: "glazed", quantity: 1 }];
const inputs = [...document.querySelectorAll("#header-fields input")];
let reads = new Set(); // the names of the headers that this shop reads
let ready = null; // the <li> of the ready experiment that is in the inputs, unchanged

export async function openExperiment() {
  reads = await getPropagationFields();
  if (reads === null) return;
  for (const input of inputs) {
    const field = input.parentElement;
    field.hidden = input.name === "b3" && !reads.has("b3");
    field.querySelector(".note").hidden = reads.has(input.name);
    input.addEventListener("input", () => begin(null));
  }
  for (const experiment of byId("experiments").children) {
    experiment.querySelector("button").addEventListener("click", () => fillIn(experiment));
  }
  byId("predictions").addEventListener("submit", send);
  byId("change-header").addEventListener("click", change);
  begin(null);
  byId("experiment").hidden = false;
}

function fillIn(experiment) {
  const headers = headersFor(experiment.querySelector("button").textContent, reads);
  for (const input of inputs) input.value = headers[input.name] ?? "";
  byId("predictions").reset();
  begin(experiment);
}

// Back to the first field that this shop reads.
function change() {
  const input = inputs.find(({ name }) => reads.has(name)) ?? inputs[0];
  byId("experiment").open = true;
  input.parentElement.scrollIntoView();
  input.focus({ preventScroll: true });
}

// Something new is to be sent.
function begin(experiment) {
  ready = experiment;
  say("hint", experiment?.querySelector(".hint").textContent ?? "");
  say("experiment-error", "");
  inputs.forEach((input) => drawDecoded(input, experiment === null));
  const headers = Object.entries(typedHeaders());
  const command = curlCommand("POST", `${location.origin}/order`, headers, JSON.stringify({ donuts: DONUTS }));
  byId("experiment-command").replaceChildren(...commandBox(command));
}

// An input that is empty sends no header.
const typedHeaders = () =>
  Object.fromEntries(inputs.map(({ name, value }) => [name, value.trim()]).filter(([, value]) => value));

// A ready experiment is judged once it is sent: its outcome is not given away before.
function drawDecoded(input, isJudged) {
  const header = decode(input.name, input.value);
  if (!isJudged) [header, ...header.parts].forEach((part) => Object.assign(part, { wrong: null }));
  input.ariaInvalid = isFaulty(header) ? true : null;
  const whole = header.wrong && make("p", {}, failure(header.wrong));
  const decoded = input.value.trim() ? [make("p", {}, headerLine(header)), whole, partList(header)] : [];
  input.closest(".header-field").querySelector(".decoded").replaceChildren(...decoded.filter(Boolean));
}

async function send(event) {
  event.preventDefault();
  const predicted = Object.fromEntries(new FormData(byId("predictions")));
  const headers = typedHeaders();
  const unsendable = Object.keys(headers).find((name) => !canBeSent(headers[name]));
  say("experiment-error", unsendable ? `Change ${unsendable}: it has a character that no header can carry.` : "");
  if (unsendable) return;
  try {
    await placeOrder(DONUTS, (serverTiming) => judge(serverTiming, predicted, headers), headers);
  } catch (refusal) {
    say("experiment-error", refusal.message);
  }
}

async function judge(serverTiming, predicted, headers) {
  const spans = await follow(serverTiming);
  if (!spans) return;
  const observed = observe(headers, readServerTiming(serverTiming), spans);
  const wrong = ["trace", "recording"].filter((each) => predicted[each] !== observed[each]);
  const grade = wrong.length ? `Wrong about the ${wrong.join(" and the ")}.` : "Right.";
  byId("verdict").replaceChildren(make("b", {}, grade), ` ${[...observed.sentences, whyOf(observed)].join(" ")}`);
  byId("outcome").dataset.right = wrong.length === 0;
  byId("outcome").hidden = false;
  inputs.forEach((input) => drawDecoded(input, true));
  byId("outcome").scrollIntoView(); // the trace is drawn below it
}

const UNEXPECTED = "This is not what the experiment shows with the default settings: OTEL_PROPAGATORS or "
  + "OTEL_TRACES_SAMPLER is set, or the shop is not finished.";

// The experiment's own sentence about the reason, if it turned out as the experiment expects.
function whyOf({ trace, recording }) {
  if (!ready) return "";
  return ready.dataset.outcome === `${trace}, ${recording}` ? ready.querySelector(".why").textContent : UNEXPECTED;
}
