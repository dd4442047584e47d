// The list of recent traces: orders first, and apart from them whatever else was asked for.

import { getTraces } from "./api.js";
import { isError } from "./facts.js";
import { byId, failure, make, say } from "./page.js";

const EMPTY = "No trace is remembered yet: order a donut, here or with curl, and look again.";

const groups = new Map(); // name -> <details>, kept so that an open one stays open; the first one begins so

// Whether this shop shows traces at all. If it does not answer, the list stays as it is.
export async function drawRecent(shownId) {
  const traces = await getTraces().catch(() => undefined);
  if (!traces) return traces === undefined;
  if (byId("recent").contains(document.activeElement)) return true; // somebody is walking through it
  const { "POST /order": orders = [], ...others } = Object.groupBy(traces, ({ first }) => first.name);
  const named = Object.entries({ "POST /order": orders, ...others }).filter(([, alike]) => alike.length);
  say("traces-note", traces.length ? "" : EMPTY);
  byId("polls-note").hidden = !traces.length;
  byId("recent").replaceChildren(...named.map(([name, alike]) => groupOf(name, alike, shownId)));
  return true;
}

function groupOf(name, traces, shownId) {
  const details = groups.get(name) ?? make("details", { open: groups.size ? null : "" });
  groups.set(name, details);
  details.open ||= traces.some(({ trace_id }) => trace_id === shownId);
  const links = traces.map((trace) => make("li", {}, link(trace, shownId)));
  details.replaceChildren(make("summary", {}, `${name} (${traces.length})`), make("ul", {}, ...links));
  return details;
}

function link({ trace_id, spans, first }, shownId) {
  const time = new Date(first.start_time).toLocaleTimeString();
  const words = [time, first.attributes["http.response.status_code"], `${spans} spans`];
  const current = trace_id === shownId ? true : null;
  return make("a", { href: `#${trace_id}`, "aria-current": current }, words.filter(Boolean).join(" · "),
    isError(first) ? failure("error") : null);
}
