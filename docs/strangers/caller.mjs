// node --import ./otlp.mjs caller.mjs LIBRARY URL: order a donut with fetch, or with node:http.
import http from "node:http";

import { context, propagation } from "@opentelemetry/api";

const [library, url] = process.argv.slice(2);
const body = JSON.stringify({ donuts: [{ flavor: "jelly", quantity: 1 }] });
const baggage = propagation.createBaggage({ customer: { value: "Amélie" } });

await context.with(propagation.setBaggage(context.active(), baggage), async () => {
  if (library === "fetch") {
    await (await fetch(url, { method: "POST", body })).text();
  } else {
    const request = http.request(url, { method: "POST" });
    request.end(body);
    await new Promise((resolve) => request.on("response", (response) => response.resume().on("end", resolve)));
  }
});
await new Promise((resolve) => setTimeout(resolve, 500)); // until the span has been sent
