// The list of recent traces: orders first, and apart from them whatever else was asked for.

import { getTraces } from "./api.js";
import { isError } from "./facts.js";
import { byId, make, say } from "./page.js";

const EMPTY = "No trace is remembered yet: order a donut, here or with curl, and look again.";

const groups = new Map(); // name -> <details>, kept so that an open one stays open; the first one begins so

// Whether this shop shows traces at all.
export async function drawRecent(shownId) {
  try {
    const traces = await getTraces();
    if (traces === null) return false;
    if (byId("recent").contains(document.activeElement)) return true; // somebody is walking through it
    say("traces-note", traces.length ? "" : EMPTY);
    byId("polls-note").hidden = !traces.length;
    byId("recent").replaceChildren(...byName(traces).map(([name, alike]) => groupOf(name, alike, shownId)));
  } catch (refusal) {
    say("traces-note", refusal.message);
  }
  return true;
}

// [["POST /order", [trace, ...]], ...]
function byName(traces) {
  const found = new Map([["POST /order", []]]);
  for (const trace of traces) found.set(trace.first.name, [...(found.get(trace.first.name) ?? []), trace]);
  return [...found].filter(([, alike]) => alike.length > 0);
}

function groupOf(name, traces, shownId) {
  const details = groups.get(name) ?? make("details", { open: groups.size ? null : "" });
  groups.set(name, details);
  details.open ||= traces.some(({ trace_id }) => trace_id === shownId);
  const links = traces.map((trace) => make("li", {}, link(trace, shownId)));
  details.replaceChildren(make("summary", {}, `${name} (${traces.length})`), make("ul", {}, ...links));
  return details;
}

function link({ trace_id, spans, open, first }, shownId) {
  const time = new Date(first.start_time).toLocaleTimeString();
  const words = [time, first.attributes["http.response.status_code"], `${spans} spans`, open ? `${open} open` : null];
  const failed = isError(first) ? make("span", { class: "failed" }, "error") : null;
  const current = trace_id === shownId ? true : null;
  return make("a", { href: `#${trace_id}`, "aria-current": current }, words.filter(Boolean).join(" · "), failed);
}
