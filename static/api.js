// The shop's endpoints as the page sees them: JSON there and JSON back.
// A refusal is thrown as an Error that carries the server's own sentence, and its status.

// `follow` is called with the Server-Timing header, which names the order's trace, also where the order is refused. It
// is waited for, so that the order and its trace are drawn at once.
// `headers` are sent along: { name: value, ... }.
export const placeOrder = (donuts, follow, headers = {}) => send("/order", { donuts }, follow, headers);

export const checkStatus = (orderId) => send("/status", { order_id: orderId });
export const getTrace = (traceId) => send(`/traces/${traceId}`);

// null if this shop has no traces to show, since it is not traced yet.
export async function getTraces() {
  const { answer, content } = await exchange("/traces");
  return answer.ok ? content : null;
}

// The Set of the propagation headers that this shop reads; null if it does not say so, since it is not traced yet.
export async function getPropagationFields() {
  const answer = await fetch("/traces", { method: "HEAD" }).catch(() => null);
  const fields = answer?.headers.get("Propagation-Fields") ?? null;
  return fields === null ? null : new Set(fields.split(", "));
}

// "" if there is no such file, or no answer.
export async function getSource(file) {
  const answer = await fetch(`/source/${encodeURIComponent(file)}`).catch(() => null);
  return answer?.ok ? answer.text() : "";
}

async function send(path, body, follow, headers) {
  const { answer, content } = await exchange(path, body && {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  await follow?.(answer.headers.get("Server-Timing"));
  if (!answer.ok) throw Object.assign(new Error(content.error), { status: answer.status });
  return content;
}

async function exchange(path, options) {
  try {
    const answer = await fetch(path, options);
    return { answer, content: await answer.json() };
  } catch {
    throw new Error("The shop does not answer: check in its terminal that it is running, and start it again if not.");
  }
}
