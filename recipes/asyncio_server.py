"""A SERVER span for each request of a server on asyncio's streams, and children in its tasks.

Copy what connection() does between attach and detach. A task starts with a copy of the context in
which it is created, so the tasks of a request are in its trace. The requests of a connection share
one task, so each has to detach what it attaches. (For errors, see traced_http_server.py.)

    python recipes/asyncio_server.py 8081
    curl http://127.0.0.1:8081/cakes
"""

import asyncio
import sys

from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind
from print_spans import print_spans

tracer = trace.get_tracer("asyncio_server")


async def connection(reader, writer):
    while request := (await reader.readline()).decode("latin-1"):
        headers = {}
        while line := (await reader.readline()).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        method, target, _ = request.split()
        path = target.partition("?")[0]
        attributes = {"http.request.method": method, "url.path": path, "url.scheme": "http"}
        token = context.attach(propagate.extract(headers, context.get_current()))
        span = tracer.start_span(method, kind=SpanKind.SERVER, attributes=attributes)
        try:
            with trace.use_span(span, end_on_exit=True):
                await asyncio.gather(bake(), bake())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ntwo cakes\n")
                span.set_attribute("http.response.status_code", 200)
        finally:
            context.detach(token)


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
