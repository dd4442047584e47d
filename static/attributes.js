// Attributes in groups, with what the HTTP conventions (v1.44.0) ask of them: pure functions, which Node runs too.

const GROUPS = [
  ["MicroDonuts", /^microdonuts\./],
  ["Error", /^error\./],
  ["HTTP", /^http\./],
  ["URL", /^url\./],
  ["Network", /^(server|client|network|user_agent)\./],
  ["Code and thread", /^(code|thread)\./],
  ["Other", /^/],
];

const ALWAYS = {
  "http.request.method": "required",
  "http.request.method_original": "conditional",
  "http.response.status_code": "conditional",
  "error.type": "conditional",
  "network.peer.address": "recommended",
  "network.peer.port": "recommended",
  "network.protocol.version": "recommended",
};

const LEVELS = {
  SERVER: {
    ...ALWAYS,
    "url.path": "required",
    "url.scheme": "required",
    "url.query": "conditional",
    "http.route": "conditional",
    "server.port": "conditional",
    "server.address": "recommended",
    "client.address": "recommended",
    "user_agent.original": "recommended",
  },
  CLIENT: { ...ALWAYS, "url.full": "required", "server.address": "required", "server.port": "required" },
};

// [{ title, attributes: [{ name, value, level }, ...] }, ...]: every attribute once, groups without any left out.
export function grouped(attributes, kind) {
  const groups = GROUPS.map(([title]) => ({ title, attributes: [] }));
  for (const [name, value] of Object.entries(attributes)) {
    const at = GROUPS.findIndex(([, pattern]) => pattern.test(name));
    groups[at].attributes.push({ name, value, level: levelOf(name, kind) });
  }
  return groups.filter((group) => group.attributes.length > 0);
}

function levelOf(name, kind) {
  return name.startsWith("http.request.header.") ? "opt-in" : LEVELS[kind]?.[name] ?? null;
}
