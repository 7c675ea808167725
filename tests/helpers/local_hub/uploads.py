"""How files come to the local Hub: large ones by the protocol of git LFS, all of them by a commit."""

import base64
import hashlib
import json
import uuid

from tests.helpers.local_hub.pages import KIND, REPO
from tests.helpers.local_hub.server import Refusal, Request, reply
from tests.helpers.local_hub.storage import File, Repository


def preupload(request: Request):
    request.may_write(request.repository().name)
    _, commit = request.repository().find(request.groups["rev"])
    if commit is None:
        raise Refusal(404, "Invalid rev id", "RevisionNotFound")
    files = []
    for asked in request.json["files"]:
        there = commit.tree.get(asked["path"])
        mode = "lfs" if asked["size"] > request.hub.lfs_from else "regular"
        known = {"oid": there.sha256 or there.oid} if there else {}
        files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False} | known)
    return {"files": files}


def batch(request: Request):
    upload = request.json["operation"] == "upload"
    repository, objects = request.repository(), []
    if upload:
        request.may_write(repository.name)
    for asked in request.json["objects"]:
        found, there = {"oid": asked["oid"], "size": asked["size"]}, asked["oid"] in repository.objects
        if not upload and not there:
            found["error"] = {"code": 404, "message": "Object does not exist"}
        elif upload != there:  # to be sent, or to be fetched
            found["actions"] = actions(request, repository, asked, upload)
        objects.append(found)
    return {"transfer": "basic", "objects": objects}


def actions(request: Request, repository: Repository, asked: dict, upload: bool) -> dict:
    # Whoever holds the ticket may use it: the real Hub sends one to a storage that knows nothing of its tokens.
    ticket, hub = uuid.uuid4().hex, request.hub
    hub.tickets[ticket] = {"repository": repository, "oid": asked["oid"], "size": asked["size"], "parts": {}}
    href = f"{hub.endpoint}/objects/{ticket}"
    if not upload:
        return {"download": {"href": href}}
    action = {"href": href}
    if asked["size"] > hub.chunk:
        count = -(-asked["size"] // hub.chunk)
        parts = {f"{number:05d}": f"{href}/{number}" for number in range(1, count + 1)}
        action["header"] = {"chunk_size": str(hub.chunk)} | parts
    return {"upload": action, "verify": {"href": f"{href}/verify"}}


def ticket_of(request: Request) -> dict:
    if request.groups["ticket"] not in request.hub.tickets:
        raise Refusal(403, "The link is no longer good")
    return request.hub.tickets[request.groups["ticket"]]


def put(request: Request):
    ticket = ticket_of(request)
    if "part" in request.groups:
        ticket["parts"][int(request.groups["part"])] = request.data
    else:
        store(ticket, request.data)
    return reply(b"", headers={"ETag": f'"{hashlib.md5(request.data).hexdigest()}"'})


def complete(request: Request):
    ticket, parts = ticket_of(request), request.json["parts"]
    contents = [ticket["parts"].get(part["partNumber"], b"") for part in parts]
    for part, content in zip(parts, contents, strict=True):
        if part["etag"].strip('"') != hashlib.md5(content).hexdigest():
            raise Refusal(400, f"Part {part['partNumber']} has another ETag")
    store(ticket, b"".join(contents))
    return {}


def store(ticket: dict, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != ticket["oid"]:
        raise Refusal(400, "What was sent does not have the SHA-256 that was announced")
    ticket["repository"].add_object(content)


def fetch(request: Request):
    ticket = ticket_of(request)
    return reply(ticket["repository"].objects[ticket["oid"]])


def verify(request: Request):
    ticket = ticket_of(request)
    found = ticket["repository"].objects.get(request.json["oid"])
    if found is None or len(found) != request.json["size"]:
        raise Refusal(404, "The object has not arrived")
    return {}


def commit(request: Request):
    repository = request.repository()
    request.may_write(repository.name)
    lines = [json.loads(line) for line in request.data.splitlines()]
    ref, head = repository.find(request.groups["rev"])
    if head is None:
        raise Refusal(404, "Invalid rev id", "RevisionNotFound")
    header = next(line["value"] for line in lines if line["key"] == "header")
    if header.get("parentCommit", head.id) != head.id:
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    tree = dict(head.tree)
    for line in lines:
        change(repository, tree, line["key"], line["value"])  # any error leaves the repository as it was
    answer = {}
    if "create_pr" in request.args:
        number = 1 + sum(name.startswith("refs/pr/") for name in repository.refs)
        ref = f"refs/pr/{number}"
        answer = {"pullRequestUrl": f"{request.hub.endpoint}/{repository.name}/discussions/{number}"}
    elif ref is None or ref.startswith("refs/tags/"):
        raise Refusal(400, "Only a branch takes a commit")
    made = repository.commit(ref, header["summary"], header.get("description", ""), tree, head.id)
    prefix = "" if repository.kind == "model" else f"{repository.kind}s/"
    url = f"{request.hub.endpoint}/{prefix}{repository.name}/commit/{made.id}"
    return answer | {"commitOid": made.id, "commitUrl": url, "success": True}


def change(repository: Repository, tree: dict[str, File], key: str, value: dict) -> None:
    if key == "file":
        content = value["content"].encode()
        tree[value["path"]] = repository.add_blob(base64.b64decode(content))
    elif key == "lfsFile":
        if value["oid"] not in repository.objects:
            raise Refusal(400, f"The large file of {value['path']} was not uploaded")
        tree[value["path"]] = File.pointer(value["oid"], len(repository.objects[value["oid"]]))
    elif key == "deletedFile":
        if tree.pop(value["path"], None) is None:
            raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
    elif key == "deletedFolder":
        for path in [path for path in tree if path.startswith(value["path"].rstrip("/") + "/")]:
            del tree[path]


def large_files(request: Request):
    repository = request.repository(write=True)
    names = {file.sha256: path for made in repository.commits.values() for path, file in made.tree.items()}
    return [
        {
            "fileOid": sha,
            "filename": names.get(sha, ""),
            "oid": sha,
            "pushedAt": repository.pushed[sha],
            "ref": "main",
            "size": len(content),
        }
        for sha, content in repository.objects.items()
    ]


def delete_large_files(request: Request):
    asked = request.json["deletions"]
    request.repository(write=True).delete_objects(asked["sha"], asked["rewriteHistory"])
    return {}


BATCH = "/<name:id>.git/info/lfs/objects/batch"
TICKET = "/objects/<ticket>"
ROUTES = [
    ("POST", f"{REPO}/preupload/<rev>", preupload),
    ("POST", BATCH, batch),
    ("POST", f"/{KIND}{BATCH}", batch),
    ("PUT", TICKET, put),
    ("PUT", f"{TICKET}/<part>", put),
    ("POST", TICKET, complete),
    ("GET", TICKET, fetch),
    ("POST", f"{TICKET}/verify", verify),
    ("POST", f"{REPO}/commit/<rev>", commit),
    ("GET", f"{REPO}/lfs-files", large_files),
    ("POST", f"{REPO}/lfs-files/batch", delete_large_files),
]
