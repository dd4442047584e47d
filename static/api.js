// The shop's endpoints as the page sees them: JSON there and JSON back.
// A refusal is thrown as an Error that carries the server's own sentence.

const NO_ANSWER = "The shop does not answer: see in its terminal whether it still runs, and start it again if not.";

// `follow` is called with the Server-Timing header, which names the order's trace, also where the order is refused.
export const placeOrder = (donuts, follow) => send("/order", { donuts }, follow);

export const checkStatus = (orderId) => send("/status", { order_id: orderId });

export const getDonuts = (orderId) => send(`/kitchen/get_donuts?order_id=${encodeURIComponent(orderId)}`);

export const getTrace = (traceId) => send(`/traces/${traceId}`);

// null if this shop has no traces to show, since it is the one without tracing.
export async function getTraces() {
  const { answer, content } = await exchange("/traces");
  return answer.ok ? content : null;
}

// "" if there is no such file, or no answer.
export async function getSource(file) {
  const answer = await fetch(`/source/${encodeURIComponent(file)}`).catch(() => null);
  return answer?.ok ? answer.text() : "";
}

async function send(path, body, follow) {
  const { answer, content } = await exchange(path, body && post(body));
  follow?.(answer.headers.get("Server-Timing"));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

const post = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

async function exchange(path, options) {
  try {
    const answer = await fetch(path, options);
    return { answer, content: await answer.json() };
  } catch {
    throw new Error(NO_ANSWER);
  }
}
