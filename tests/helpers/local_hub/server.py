"""A Hub on this machine: it answers over HTTP what `huggingface_hub`, transformers, peft and `Trainer` ask of one."""

import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from werkzeug import Request as PlainRequest
from werkzeug import Response
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.routing import BaseConverter, Map, Rule
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

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


def reply(content, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer: bytes as they are, all else as JSON."""
    if isinstance(content, bytes):
        return Response(content, status, headers, mimetype="application/octet-stream")
    return Response(json.dumps(content), status, headers, mimetype="application/json")


class Refusal(HTTPException):
    """An answer that is an error, as the Hub gives it: status, code and message are read from headers."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None):
        about = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        super().__init__(message, reply({"error": message}, status, about | (headers or {})))


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


class Request(PlainRequest):
    """One request: `groups` are the parts of the path that its route names."""

    hub: "Hub"
    groups: dict[str, str]
    user: str | None = None
    role: str | None = None

    def identify(self) -> None:
        """Whose token it carries, if it carries one."""
        if self.authorization and self.authorization.type == "bearer":
            if self.authorization.token not in TOKENS:
                raise Refusal(401, "Invalid credentials in Authorization header")
            self.user, self.role = TOKENS[self.authorization.token]

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
        if self.role.endswith("read") or not (self.owns(name) or "create_pr" in self.args):
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


class Name(BaseConverter):
    """The owner and the name of a repository."""

    regex = "[^/]+/[^/]+"
    part_isolating = False


class Handler(WSGIRequestHandler):
    disable_nagle_algorithm = True

    def connection_dropped(self, *about) -> None:
        """The client is gone, as a test may have killed it, or a test wants its connection to break."""
        self.close_connection = True

    def log_request(self, *about) -> None:
        """Nothing to the console."""


class HubServer(ThreadedWSGIServer):
    """Serves a `Hub` on a socket that is bound already; `hub` may be replaced by another between requests."""

    def __init__(self, bound: socket.socket):
        from tests.helpers.local_hub import pages, uploads

        host, port = bound.getsockname()
        super().__init__(host, port, self.answer, Handler, fd=bound.fileno())
        rules = [
            Rule(path, methods=[method], endpoint=function)
            for method, path, function in (*pages.ROUTES, *uploads.ROUTES)
        ]
        self.routes = Map(rules, converters={"name": Name}, merge_slashes=False).bind(host)
        self.hub = Hub(f"http://{host}:{port}")
        self.server_activate()

    def answer(self, environ, start_response):
        """The WSGI application."""
        request = Request(environ)
        request.hub, name = self.hub, f"{request.method} {request.path}"
        fault = next((fault for fault in request.hub.faults if fault.takes(name)), None)
        partly = fault is not None and fault.read is not None
        try:
            received = len(request.stream.read(fault.read) if partly else request.get_data())
        except ClientDisconnected as error:
            raise ConnectionAbortedError("The client was killed while it sent") from error
        if fault is None or fault.done:
            response = self.response(request)
        request.hub.log.append((name, fault.status if fault else response.status_code, received))
        if fault:
            fault.then()
            if not fault.status:
                raise ConnectionAbortedError("The test asked for this")
            response = reply(b"", fault.status, {"X-Error-Message": "The test asked for this"})
        return response(environ, start_response)

    def response(self, request: Request) -> Response:
        try:
            request.identify()
            path = urlsplit(request.environ["REQUEST_URI"]).path  # where a slash in a name of a branch is still quoted
            function, groups = self.routes.match(path, request.method)
            request.groups = {key: unquote(value) for key, value in groups.items()}
            with request.hub.lock:
                answer = function(request)
        except HTTPException as refusal:
            return refusal.get_response(request.environ)
        return answer if isinstance(answer, Response) else reply(answer)
