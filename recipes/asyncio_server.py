"""A SERVER span for each request of a server on asyncio's streams, and children in its tasks.

Copy what is between `lines` and `detach`: propagators look for names in lower case. A task starts
with a copy of its creator's context. A connection's requests share one task, so each detaches what
it attaches. Chunked bodies are left out. For errors and odd requests see traced_http_server.py.

    python recipes/asyncio_server.py 8081
    curl http://127.0.0.1:8081/cakes
"""

import asyncio
import sys

from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind
from print_spans import print_spans  # for the last part alone

tracer = trace.get_tracer("asyncio_server")


async def connection(reader, writer):
    while request := (await reader.readline()).decode("latin-1"):
        lines = {}
        while line := (await reader.readline()).decode("latin-1").strip():
            name, _, value = line.partition(":")
            lines.setdefault(name.lower(), []).append(value.strip())
        # Joined, because the API reads one line of traceparent and of baggage.
        headers = {name: ",".join(values) for name, values in lines.items()}
        await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, *_ = request.replace("?", " ").split()
        attributes = {"http.request.method": method, "url.path": path, "url.scheme": "http"}
        token = context.attach(propagate.extract(headers, context.get_current()))
        try:
            with tracer.start_as_current_span(method, None, SpanKind.SERVER, attributes) as span:
                await asyncio.gather(bake(), bake())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ntwo cakes\n")
                span.set_attribute("http.response.status_code", 200)
        finally:
            context.detach(token)
    writer.close()


async def bake():
    with tracer.start_as_current_span("bake"):
        await asyncio.sleep(0)


async def main():
    server = await asyncio.start_server(connection, "127.0.0.1", int(sys.argv[1]))
    print("open at http://{}:{}/".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    print_spans()
    asyncio.run(main())
