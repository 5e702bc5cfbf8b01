"""An S3-compatible server in a process of its own, and a proxy before it that breaks answers."""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Fault = Literal["500", "503", "reset", "truncate", "slow", "403"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class ObjectServer:
    """moto's S3, which keeps objects in its memory."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=30).close()
                return
            except OSError:
                assert time.monotonic() < deadline, "the server did not start"
                assert self._process.poll() is None, "the server ended"
                time.sleep(0.1)

    def create_bucket(self, name: str) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=60).close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


class BreakingProxy:
    """Forwards requests; the next ones of a method suffer the faults that were ordered."""

    def __init__(self, port: int) -> None:
        proxy = self
        self._faults: list[tuple[str, Fault]] = []
        self._lock = threading.Lock()
        self.seen: Counter[str] = Counter()
        self.suffered: Counter[str] = Counter()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.body()
                fault = proxy._take(self.command)
                if fault == "reset":
                    # A connection that is closed with a linger of 0 is reset.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                    return
                if fault in ("500", "503", "403"):
                    code = {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied"}
                    error = f"<Error><Code>{code[fault]}</Code><Message>no</Message></Error>"
                    self.answer(int(fault), [], b"" if self.command == "HEAD" else error.encode())
                    return
                if fault == "slow":
                    time.sleep(1)
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                upstream.request(self.command, self.path, body, {
                    k: v for k, v in self.headers.items()
                    if k.lower() not in ("expect", "transfer-encoding", "content-length")
                })  # fmt: skip
                reply = upstream.getresponse()
                content = reply.read()
                headers = [
                    (k, v) for k, v in reply.getheaders()
                    if k.lower() not in ("connection", "transfer-encoding", "content-length")
                ]  # fmt: skip
                size = reply.getheader("Content-Length")
                upstream.close()
                cut = len(content) // 2 if fault == "truncate" else len(content)
                self.answer(reply.status, headers, content[:cut], size=size)
                if fault == "truncate":
                    self.close_connection = True

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def answer(
                self,
                status: int,
                headers: list[tuple[str, str]],
                content: bytes,
                size: str | None = None,
            ) -> None:
                self.send_response_only(status)
                for key, value in headers:
                    self.send_header(key, value)
                self.send_header("Content-Length", size or str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that went away is no news here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def order(self, method: str, *faults: Fault) -> None:
        """Let the next requests of a method fail, one after the other."""
        with self._lock:
            self._faults += [(method, fault) for fault in faults]

    def forget(self) -> None:
        """Let what was ordered and not delivered be."""
        with self._lock:
            self._faults.clear()

    def _take(self, method: str) -> Fault | None:
        with self._lock:
            self.seen[method] += 1
            for number, (wanted, fault) in enumerate(self._faults):
                if wanted == method:
                    del self._faults[number]
                    self.suffered[fault] += 1
                    return fault
        return None

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
