// A kitchen in Deno, which traces by itself: see docs/compare.md.
const donuts: Record<string, string>[] = [];

Deno.serve({ hostname: "127.0.0.1", port: 8083 }, async (request) => {
  const url = new URL(request.url);
  if (url.pathname === "/kitchen/add_donuts") {
    const { order_id, flavor } = await request.json();
    donuts.push({ order_id, flavor });
    return Response.json({ order_id });
  }
  const mine = donuts.filter((donut) => donut.order_id === url.searchParams.get("order_id"));
  return Response.json(mine.map((donut) => ({ ...donut, status: "ready", ready_in: 0 })));
});
