// The list of recent traces: orders first, and apart from them whatever else was asked for.

import { getTraces } from "./api.js";
import { isError, traceIdOf } from "./facts.js";
import { byId, make, say } from "./page.js";

const EMPTY = "No trace is remembered yet: order a donut, here or with curl, and look again.";
const UNTRACED = "This shop is not traced yet: the walkthrough in README.md says where to begin.";

const groups = new Map(); // name -> <details>, kept so that an open one stays open; the first one begins so

export async function drawRecent(shownId) {
  try {
    const traces = await getTraces();
    if (byId("recent").contains(document.activeElement)) return; // somebody is walking through it
    say("traces-note", traces === null ? UNTRACED : traces.length ? "" : EMPTY);
    byId("polls-note").hidden = !traces?.length;
    byId("recent").replaceChildren(...byName(traces ?? []).map(([name, alike]) => groupOf(name, alike, shownId)));
  } catch (refusal) {
    say("traces-note", refusal.message);
  }
}

// A trace is its first span here: [["POST /order", [span, ...]], ...]
function byName(traces) {
  const found = new Map([["POST /order", []]]);
  for (const first of traces) found.set(first.name, [...(found.get(first.name) ?? []), first]);
  return [...found].filter(([, alike]) => alike.length > 0);
}

function groupOf(name, traces, shownId) {
  const details = groups.get(name) ?? make("details", { open: groups.size ? null : "" });
  groups.set(name, details);
  details.open ||= traces.some((first) => traceIdOf(first) === shownId);
  const links = traces.map((first) => make("li", {}, link(first, shownId)));
  details.replaceChildren(make("summary", {}, `${name} (${traces.length})`), make("ul", {}, ...links));
  return details;
}

function link(first, shownId) {
  const time = new Date(first.start_time).toLocaleTimeString();
  const words = [time, first.attributes["http.response.status_code"]];
  const failed = isError(first) ? make("span", { class: "failed" }, "error") : null;
  const id = traceIdOf(first);
  const current = id === shownId ? true : null;
  return make("a", { href: `#${id}`, "aria-current": current }, words.filter(Boolean).join(" · "), failed);
}
