// The shop's endpoints as the page sees them: JSON there and JSON back.
// A refusal is thrown as an Error that carries the server's own sentence.

const NO_ANSWER = "The shop does not answer: see in its terminal whether it still runs, and start it again if not.";

export const placeOrder = (donuts) => send("/order", { donuts });

export const checkStatus = (orderId) => send("/status", { order_id: orderId });

export const getDonuts = (orderId) => send(`/kitchen/get_donuts?order_id=${encodeURIComponent(orderId)}`);

async function send(path, body) {
  const { answer, content } = await exchange(path, body && post(body));
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
