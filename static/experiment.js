// The panel "Send a header of your own". Headers are taken apart while they are typed, and sent with an order. What came
// of them is observed, and compared with what the visitor predicted.

import { getPropagationFields, getTrace, placeOrder } from "./api.js";
import { curlCommand, drawCommand } from "./curl.js";
import { headerLine, partList } from "./decoded.js";
import { headersFor, observe, senderOf } from "./experiments.js";
import { canBeSent, decode, faultsOf, readServerTiming } from "./headers.js";
import { byId, copyOf, failure, make, say, set } from "./page.js";
import { follow } from "./trace.js";

const NAMES = ["traceparent", "tracestate", "baggage", "b3"];
const DONUTS = [{ flavor: "glazed", quantity: 1 }];

const inputs = new Map(); // name of a header -> its <input>
let reads = new Set(); // the names of the headers that this shop reads
let ready = null; // the <li> of the ready experiment that is in the inputs, unchanged

export async function openExperiment() {
  reads = await getPropagationFields();
  if (reads === null) return;
  for (const name of NAMES.filter((each) => each !== "b3" || reads.has("b3"))) addInput(name);
  byId("experiments").addEventListener("click", ({ target }) => target.matches("button") && fillIn(target.parentElement));
  byId("send").addEventListener("click", send);
  byId("change-header").addEventListener("click", () => byId("experiment").querySelector("summary").focus());
  begin(null);
  byId("experiment").hidden = false;
}

function addInput(name) {
  const field = copyOf("header-field");
  const input = field.querySelector("input");
  set(field.querySelector("label"), { for: `send-${name}` });
  set(input, { id: `send-${name}`, name });
  field.querySelector("label").textContent = name;
  if (!reads.has(name)) field.querySelector(".note").textContent = "This shop does not read it (OTEL_PROPAGATORS).";
  input.addEventListener("input", () => begin(null));
  byId("header-fields").append(field);
  inputs.set(name, input);
}

function fillIn(experiment) {
  const headers = headersFor(experiment.querySelector("button").textContent, reads);
  for (const [name, input] of inputs) input.value = headers[name] ?? "";
  for (const radio of document.querySelectorAll("#experiment [type=radio]")) radio.checked = false;
  begin(experiment);
}

// Something new is to be sent.
function begin(experiment) {
  ready = experiment;
  say("hint", experiment?.querySelector(".hint").textContent ?? "");
  say("experiment-error", "");
  for (const [name, input] of inputs) drawDecoded(name, input);
  const body = JSON.stringify({ donuts: DONUTS });
  const headers = Object.entries(typedHeaders());
  drawCommand(byId("experiment-command"), curlCommand({ method: "POST", url: `${location.origin}/order`, headers, body }));
}

// An input that is empty sends no header.
const typedHeaders = () =>
  Object.fromEntries([...inputs].map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value));

function drawDecoded(name, input) {
  const header = decode(name, input.value);
  set(input, { "aria-invalid": faultsOf(header).length ? true : null });
  const whole = header.wrong && make("p", {}, failure(header.wrong));
  const decoded = input.value.trim() ? [make("p", {}, headerLine(header)), whole, partList(header)] : [];
  input.closest(".header-field").querySelector(".decoded").replaceChildren(...decoded.filter(Boolean));
}

const chosen = (name) => document.querySelector(`#experiment [name=${name}]:checked`)?.value;

async function send() {
  const headers = typedHeaders();
  const unsendable = Object.keys(headers).find((name) => !canBeSent(headers[name]));
  if (unsendable) {
    return say("experiment-error", `Change ${unsendable}: it has a character that no header can carry.`);
  }
  if (!chosen("trace") || !chosen("recording")) {
    return say("experiment-error", "Predict first: choose one of each pair.");
  }
  const predicted = { isSame: chosen("trace") === "same", isRecorded: chosen("recording") === "recorded" };
  let serverTiming = null;
  say("experiment-error", "");
  try {
    await placeOrder(DONUTS, (value) => (serverTiming = value), headers);
  } catch (refusal) {
    say("experiment-error", refusal.message);
  }
  follow(serverTiming, senderOf(headers).spanId);
  const answer = readServerTiming(serverTiming);
  if (!answer) return;
  const { spans } = await getTrace(answer.traceId);
  showOutcome(predicted, observe(headers, answer, spans));
}

function showOutcome(predicted, observed) {
  const isTraceRight = predicted.isSame === observed.isSame;
  const isRecordingRight = predicted.isRecorded === observed.isRecorded;
  const wrong = isTraceRight ? "the recording" : isRecordingRight ? "the trace" : "both";
  const isRight = isTraceRight && isRecordingRight;
  const grade = isRight ? "Right." : `Wrong about ${wrong}.`;
  byId("outcome").dataset.right = isRight;
  byId("outcome").hidden = false;
  byId("verdict").replaceChildren(make("b", {}, grade), ` ${[...observed.sentences, whyOf(observed)].join(" ")}`);
  byId("outcome").scrollIntoView(); // the trace is drawn below it
}

const UNEXPECTED = "This is not what the experiment shows with the default settings: OTEL_PROPAGATORS or OTEL_TRACES_SAMPLER "
  + "is set, or the shop is not finished.";

// The experiment's own sentence about the reason, if it turned out as the experiment expects.
function whyOf({ isSame, isRecorded }) {
  if (!ready) return "";
  const outcome = `${isSame ? "same" : "new"}, ${isRecorded ? "recorded" : "not recorded"}`;
  return ready.dataset.outcome === outcome ? ready.querySelector(".why").textContent : UNEXPECTED;
}
