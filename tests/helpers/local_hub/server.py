"""A Hub on this machine: it answers over HTTP what `huggingface_hub`, transformers, peft and `Trainer` ask of one."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.helpers.local_hub.storage import Repository

# Who is who: token -> user and role. The user also belongs to the organization "house".
TOKENS = {
    "hf_write": ("tester", "write"),
    "hf_read": ("tester", "read"),
    "hf_other": ("stranger", "write"),
    "hf_fine": ("tester", "fineGrained write"),
    "hf_fine_read": ("tester", "fineGrained read"),
}
ORGANIZATIONS = {"tester": ["house"], "stranger": []}
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


class Refusal(Exception):
    """An answer that is an error, as the Hub gives it: status, code and message are read from headers."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Message": message} | (headers or {})
        if code:
            self.headers["X-Error-Code"] = code


@dataclass
class Fault:
    """What goes wrong: from the `skip`-th request on that matches, `times` requests are answered like this.

    Args:
        pattern: regular expression for `"METHOD /path"`.
        status: the answer; without one, the connection breaks.
        read: bytes of the body that are read before; all of it by default.
        done: whether the request takes effect, and only its answer is lost.
        then: called when it happens, such as the end of the client.
    """

    pattern: str = ""
    skip: int = 0
    times: int = 1
    status: int | None = None
    read: int | None = None
    done: bool = False
    then: Callable[[], object] = lambda: None

    def takes(self, request: str) -> bool:
        if not self.times or not re.search(self.pattern, request):
            return False
        self.skip -= 1
        if self.skip >= 0:
            return False
        self.times -= 1
        return True


@dataclass
class Request:
    """One request: `groups` are the parts of the path that its route names."""

    hub: "Hub"
    method: str
    path: str
    query: dict[str, str]
    user: str | None
    role: str | None
    body: bytes = b""
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def json(self):
        return json.loads(self.body or b"{}")

    def repository(self, write: bool = False) -> Repository:
        """The repository that the path names, if this user may read it, or write to it."""
        kind = KINDS[self.groups.get("kind") or "models"]
        found = self.hub.repositories.get((kind, self.groups["id"]))
        if found is None or (found.private and not self.owns(found.name)):
            raise Refusal(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if write:
            self.may_write(found.name)
        return found

    def owns(self, name: str) -> bool:
        return self.user is not None and name.split("/")[0] in (self.user, *ORGANIZATIONS[self.user])

    def may_write(self, name: str) -> None:
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        if self.role.endswith("read") or not (self.owns(name) or "create_pr" in self.query):
            raise Refusal(403, f"You don't have the rights to write to {name} under this token")


class Hub:
    """The server's state, what it was asked, and what is to go wrong.

    Args:
        endpoint: its URL.
        lfs_from: size in bytes above which a file is a large one.
        chunk: size of the parts in which a large file above this size is sent.
    """

    def __init__(self, endpoint: str, lfs_from: int = 10_000_000, chunk: int = 20_000_000):
        self.endpoint, self.lfs_from, self.chunk = endpoint, lfs_from, chunk
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.tickets: dict[str, dict] = {}  # uploads and downloads of large files that were promised
        self.faults: list[Fault] = []
        self.log: list[tuple[str, int | None, int]] = []  # "METHOD /path", status, bytes received
        self.lock = threading.RLock()

    def repository(self, name: str, kind: str = "model") -> Repository:
        return self.repositories[kind, name]

    def asked(self, pattern: str) -> list[tuple[str, int | None, int]]:
        """The part of the log that matches."""
        return [entry for entry in self.log if re.search(pattern, entry[0])]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "HubServer"

    def answer(self) -> None:
        hub, parts = self.server.hub, urlsplit(self.path)
        name = f"{self.command} {unquote(parts.path)}"
        fault = next((fault for fault in hub.faults if fault.takes(name)), None)
        body = self.read(fault.read if fault else None)
        if fault:
            hub.log.append((name, fault.status, len(body)))
            if fault.done:
                with contextlib.suppress(Refusal):
                    self.route(hub, parts, body)
            fault.then()
            if fault.status:
                self.send(fault.status, b"", {"X-Error-Message": "The test asked for this", "Connection": "close"})
            self.close_connection = True
            return
        try:
            status, content, headers = self.route(hub, parts, body)
        except Refusal as refusal:
            status, content, headers = refusal.status, {"error": str(refusal)}, refusal.headers
        hub.log.append((name, status, len(body)))
        if not isinstance(content, bytes):
            content, headers = json.dumps(content).encode(), headers | {"Content-Type": "application/json"}
        self.send(status, content, headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 (http.server's names)

    def route(self, hub: Hub, parts, body: bytes):
        user, role = self.who()
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        for method, pattern, function in self.server.routes:
            found = re.fullmatch(pattern, parts.path)
            if found and self.command in (method, "HEAD" if method == "GET" else method):
                groups = {key: unquote(value) for key, value in found.groupdict().items() if value is not None}
                with hub.lock:
                    answer = function(Request(hub, self.command, parts.path, query, user, role, body, groups))
                return answer if isinstance(answer, tuple) else (200, answer, {})
        raise Refusal(404, f"No such page: {self.command} {parts.path}")

    def who(self) -> tuple[str | None, str | None]:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None, None
        if token not in TOKENS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return TOKENS[token]

    def read(self, most: int | None) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self.chunks(most))
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length if most is None else min(length, most))

    def chunks(self, most: int | None) -> Iterator[bytes]:
        received = 0
        while (most is None or received < most) and (size := int(self.rfile.readline(), 16)):
            yield self.rfile.read(size)
            received += size
            self.rfile.readline()
        if most is None:
            self.rfile.readline()

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client is gone; a test may have killed it

    def handle(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            super().handle()

    def log_message(self, *args) -> None:
        """Nothing to the console."""


class HubServer(ThreadingHTTPServer):
    """Serves a `Hub` on a socket that is bound already; `hub` may be replaced by another between requests."""

    daemon_threads = True

    def __init__(self, bound: socket.socket):
        from tests.helpers.local_hub import pages, uploads

        super().__init__(bound.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.server_address = bound, bound.getsockname()
        self.server_name, self.server_port = self.server_address[:2]
        self.routes = [*pages.ROUTES, *uploads.ROUTES]
        self.hub = Hub(f"http://127.0.0.1:{self.server_port}")
        self.server_activate()
