// The panel "Send a header of your own". Headers are taken apart while they are typed, and sent with an order. The
// shop’s answer tells what came of them, and is compared with what the visitor predicted.

import { getPropagationFields, placeOrder } from "./api.js";
import { commandBox } from "./command.js";
import { curlCommand } from "./curl.js";
import { failure, headerLine, partList } from "./decoded.js";
import { EXPERIMENTS, headersFor } from "./experiments.js";
import { decode, faultsOf, readServerTiming } from "./headers.js";
import { byId, copyOf, make, say, set } from "./page.js";
import { follow } from "./trace.js";
import { askedFor, isSameTrace, verdict } from "./verdict.js";

const NAMES = ["traceparent", "tracestate", "baggage", "b3"];
const DONUTS = [{ flavor: "glazed", quantity: 1 }];

const NO_SPAN = "The answer names no span of this shop, so there is no verdict: OTEL_SDK_DISABLED turns tracing off.";

const inputs = new Map(); // name of a header -> its <input>
const command = commandBox();
let reads = new Set(); // the names of the headers that this shop reads

export async function openExperiment() {
  const fields = await getPropagationFields();
  if (fields === null) return;
  reads = fields;
  for (const name of NAMES.filter((each) => each !== "b3" || reads.has("b3"))) addInput(name);
  byId("experiments").append(...EXPERIMENTS.map(buttonFor));
  byId("experiment-command").append(command.element);
  byId("send").addEventListener("click", send);
  showCommand();
  byId("experiment").hidden = false;
}

function buttonFor(experiment) {
  const button = make("button", { type: "button" }, experiment.name);
  button.addEventListener("click", () => fillIn(experiment));
  return make("li", {}, button);
}

function addInput(name) {
  const field = copyOf("header-field");
  const input = field.querySelector("input");
  set(field.querySelector("label"), { for: `send-${name}` });
  set(input, { id: `send-${name}`, name });
  field.querySelector("label").textContent = name;
  if (!reads.has(name)) field.querySelector(".note").textContent = "This shop does not read it (OTEL_PROPAGATORS).";
  input.addEventListener("input", () => typed(name));
  byId("header-fields").append(field);
  inputs.set(name, input);
}

function fillIn(experiment) {
  const headers = headersFor(experiment, reads);
  for (const [name, input] of inputs) {
    input.value = headers[name] ?? "";
    drawDecoded(name);
  }
  for (const radio of document.querySelectorAll("#experiment [type=radio]")) radio.checked = false;
  say("hint", experiment.hint);
  begin();
}

function typed(name) {
  drawDecoded(name);
  begin();
}

// Something new is to be sent: what was said of the last request is over.
function begin() {
  say("verdict", "");
  say("experiment-error", "");
  showCommand();
}

// An input that is empty sends no header.
const typedHeaders = () => Object.fromEntries(
  [...inputs].map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value));

function showCommand() {
  const headers = Object.entries(typedHeaders());
  const body = JSON.stringify({ donuts: DONUTS });
  command.show(curlCommand({ method: "POST", url: `${location.origin}/order`, headers, body }));
}

function drawDecoded(name) {
  const input = inputs.get(name);
  const field = input.closest(".header-field");
  const header = decode(name, input.value);
  const isWrong = input.value.trim() !== "" && faultsOf(header).length > 0;
  set(input, { "aria-invalid": isWrong ? true : null });
  const whole = header.wrong && make("p", {}, failure(header.wrong));
  const decoded = input.value.trim() ? [make("p", {}, headerLine(header)), whole, partList(header)] : [];
  field.querySelector(".decoded").replaceChildren(...decoded.filter(Boolean));
}

const chosen = (name) => document.querySelector(`#experiment [name=${name}]:checked`)?.value;

async function send() {
  const predicted = { isSame: chosen("trace") === "same", isRecorded: chosen("recording") === "recorded" };
  const headers = typedHeaders();
  const unsendable = Object.entries(headers).find(([name, value]) => !decode(name, value).parts.length);
  say("verdict", "");
  if (unsendable) {
    return say("experiment-error", `Change ${unsendable[0]}: it has a character that no header can carry.`);
  }
  if (!chosen("trace") || !chosen("recording")) {
    return say("experiment-error", "Predict first: choose one of each pair.");
  }
  say("experiment-error", "");
  try {
    await placeOrder(DONUTS, (serverTiming) => judge(serverTiming, predicted, headers), headers);
  } catch (refusal) {
    say("experiment-error", refusal.message);
  }
}

function judge(serverTiming, predicted, headers) {
  const answer = readServerTiming(serverTiming);
  const asked = askedFor(headers, reads, answer?.traceId);
  // A refusal that came before there was a span says why in its own sentence, which is shown in place of this one.
  if (!answer || answer.spanId === asked.parentId) return say("experiment-error", NO_SPAN);
  showVerdict(verdict(predicted, answer, headers, reads));
  follow(serverTiming, isSameTrace(answer, headers) ? asked.parentId : null);
}

function showVerdict(sentence) {
  const [grade] = sentence.split(":", 1);
  const place = byId("verdict");
  place.dataset.right = grade === "Right";
  place.replaceChildren(make("b", {}, grade), sentence.slice(grade.length));
  place.scrollIntoView(); // the trace is drawn below it
}
