"""A real HTTP server of OpenAI's form that embeds by hashing, and misbehaves when it is told to."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

DIM = 6


def embedding(text: str, dim: int = DIM) -> list[float]:
    """Return the vector that the server has for a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32).tolist()


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Return the right answer to a request."""
    dim = body.get("dimensions", DIM)
    encoded = body.get("encoding_format") == "base64"
    return {
        "object": "list",
        "model": body["model"],
        "data": [
            {"object": "embedding", "index": i, "embedding": _sent(embedding(text, dim), encoded)}
            for i, text in enumerate(body["input"])
        ],
    }


def _sent(vector: list[float], encoded: bool) -> Any:
    """Return a vector as the client asked for it."""
    return base64.b64encode(np.array(vector, "<f4").tobytes()).decode() if encoded else vector


@dataclass
class Reply:
    """What to answer; ``drop`` closes the connection without a word."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    delay: float = 0.0


@dataclass
class Server:
    """What the server saw, and how it is to behave: ``script`` first, then ``always``."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    script: list[Reply | Callable[[dict[str, Any]], Reply]] = field(default_factory=list)
    always: Callable[[dict[str, Any]], Reply] = field(default=lambda body: Reply(body=answer(body)))
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sizes(self) -> list[int]:
        """Numbers of texts per request."""
        return [len(body["input"]) for body in self.bodies]

    def reply(self, body: dict[str, Any], path: str, headers: dict[str, str]) -> Reply:
        with self.lock:
            self.bodies.append(body)
            self.paths.append(path)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            now = self.script.pop(0) if self.script else self.always
        return now(body) if callable(now) else now


def shuffled(body: dict[str, Any]) -> Reply:
    """Answer rightly, in another order."""
    right = answer(body)
    random.Random(1).shuffle(right["data"])
    return Reply(body=right)


@contextmanager
def embedding_server() -> Iterator[Server]:
    """Run a server on a free port of this machine."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            reply = state.reply(body, self.path, {k.lower(): v for k, v in self.headers.items()})
            time.sleep(reply.delay)
            if reply.drop:
                self.close_connection = True
                return
            raw = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw.encode())))
            self.end_headers()
            try:
                self.wfile.write(raw.encode())
            except (BrokenPipeError, ConnectionResetError):
                pass  # a client that timed out

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
