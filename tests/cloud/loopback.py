"""An HTTP server on the loopback interface that plays a vendor, with faults on demand."""

from __future__ import annotations

import json
import socket
import threading
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse


@dataclass(frozen=True)
class Fault:
    """How one request goes wrong."""

    status: int | None = None
    """Answer with this code instead of the real one; None cuts the connection."""
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    accepted: bool = False
    """Whether the request takes effect all the same."""


DROP_BEFORE, DROP_AFTER = Fault(), Fault(accepted=True)


class Loopback:
    """Subclasses answer in ``handle(method, path, query, body) -> (status, body)``."""

    def __init__(self):
        self.log = []
        """Method and path of each request."""
        self.authorizations = set()
        self.lock = threading.RLock()
        self._faults = defaultdict(list)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def fail(self, method, path, *faults):
        """The next requests of this kind go wrong, one fault each."""
        self._faults[method, path] += faults

    def count(self, method, path):
        """How many requests of this kind came."""
        return sum(entry == (method, path) for entry in self.log)

    def handle(self, method, path, query, body):
        raise NotImplementedError

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _handler(self):
        loop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two packets; the second would wait 40 ms

            def log_message(self, *_):
                return

            def _answer(self, status, body, headers=()):
                data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else _json(body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def _serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                url = urlparse(self.path)
                path = unquote(url.path)
                loop.log.append((self.command, path))
                loop.authorizations.add(self.headers.get("Authorization", ""))
                faults = loop._faults[self.command, path]
                fault = faults.pop(0) if faults else None
                if fault is None or fault.accepted:
                    answer = loop.handle(self.command, path, parse_qs(url.query), body)
                if fault is None:
                    self._answer(*answer)
                elif fault.status is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                else:
                    self._answer(fault.status, fault.body or {}, fault.headers)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815

            def handle(self):
                try:
                    super().handle()
                except (ConnectionError, BrokenPipeError):
                    return  # the client was killed

        return Handler


def _json(value):
    return json.dumps(value).encode()
