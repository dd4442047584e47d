// node --import ./otlp.mjs kitchen.mjs FRAMEWORK PORT: a kitchen in Express or Fastify.
// Each SERVER span gets the order id that came as baggage, in an attribute of that name.
import { propagation, trace } from "@opentelemetry/api";

const [framework, port] = process.argv.slice(2);
const KEY = "microdonuts.order.id";

function answer(name, body) {
  trace.getActiveSpan()?.setAttribute(KEY, `${propagation.getActiveBaggage()?.getEntry(KEY)?.value}`);
  if (name === "add_donuts") return { order_id: body.order_id };
  return [{ order_id: "x", flavor: "jelly", status: "ready", ready_in: 0 }];
}

if (framework === "express") {
  const { default: express } = await import("express");
  const app = express().use(express.json());
  app.all("/kitchen/:name", (request, response) => response.json(answer(request.params.name, request.body)));
  app.listen(Number(port), "127.0.0.1");
} else {
  const { default: fastify } = await import("fastify");
  const app = fastify();
  app.all("/kitchen/:name", async (request) => answer(request.params.name, request.body));
  await app.listen({ port: Number(port), host: "127.0.0.1" });
}
