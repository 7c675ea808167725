"""What the local Hub answers of repositories, refs, trees and files."""

import re

import yaml

from tests.helpers.local_hub.server import ORGANIZATIONS, Refusal, Request, reply
from tests.helpers.local_hub.storage import Commit, File, Repository


def whoami(request: Request):
    if request.user is None:
        raise Refusal(401, "Invalid username or password.")
    role, _, scope = request.role.partition(" ")
    token = {"displayName": "test", "role": role}
    if scope:
        allowed = ["repo.content.read", *(["repo.write"] if scope == "write" else [])]
        token["fineGrained"] = {"global": [], "scoped": [{"entity": {"type": "user"}, "permissions": allowed}]}
    organizations = [{"name": name} for name in ORGANIZATIONS[request.user]]
    auth = {"type": "access_token", "accessToken": token}
    return {"type": "user", "name": request.user, "fullname": request.user, "orgs": organizations, "auth": auth}


def named(request: Request) -> tuple[str, str]:
    asked = request.json
    return asked.get("type") or "model", f"{asked.get('organization') or request.user}/{asked['name']}"


def create(request: Request):
    kind, name = named(request)
    request.may_write(name)
    url = {"url": f"{request.hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{name}"}
    if (kind, name) in request.hub.repositories:
        return reply(url | {"error": "You already created this repo"}, 409)
    request.hub.repositories[kind, name] = Repository(kind, name, request.json.get("visibility") == "private")
    return url


def delete(request: Request):
    kind, name = named(request)
    request.groups = {"kind": f"{kind}s", "id": name}
    request.repository(write=True)
    del request.hub.repositories[kind, name]
    return {}


def settings(request: Request):
    request.repository(write=True).private = request.json.get("visibility") == "private"
    return {}


def front_matter(text: str):
    found = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    return yaml.safe_load(found[1]) if found else {}


def validate_yaml(request: Request):
    errors = []
    try:
        data = front_matter(request.json["content"]) or {}
        for entry in data.get("model-index", []):
            errors += [] if entry.get("name") else ['"model-index[0].name" is required']
            for result in entry.get("results", []):
                errors += [] if result.get("task", {}).get("type") else ['"task.type" is required']
                errors += [] if result.get("dataset", {}).get("type") else ['"dataset.type" is required']
                errors += [
                    f"{m} lacks type or value" for m in result.get("metrics", []) if not {"type", "value"} <= m.keys()
                ]
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        errors.append(f"Invalid metadata: {error}")
    return reply({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)


def at(request: Request) -> tuple[Repository, str | None, Commit]:
    """The repository, ref and commit of a path; `main` without a revision."""
    repository = request.repository()
    ref, commit = repository.find(request.groups.get("rev", "main"))
    if commit is None:
        raise Refusal(404, "Invalid rev id", "RevisionNotFound")
    return repository, ref, commit


def info(request: Request):
    repository, _, commit = at(request)
    card = commit.tree.get("README.md")
    data = front_matter(repository.content(card).decode()) if card else {}
    files = [{"rfilename": path} for path in sorted(commit.tree)]
    if "blobs" in request.args:
        files = [
            entry(path, file) | {"rfilename": path, "blobId": file.oid} for path, file in sorted(commit.tree.items())
        ]
    return {
        "id": repository.name,
        "sha": commit.id,
        "private": repository.private,
        "tags": (data or {}).get("tags") or [],
        "siblings": files,
        "cardData": data,
        "lastModified": commit.date,
        "createdAt": repository.created,
    }


def entry(path: str, file: File) -> dict:
    large = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.sha256 else {}
    return {"type": "file", "path": path, "oid": file.oid, "size": file.size} | large


def expanded(repository: Repository, commit: Commit, found: dict) -> dict:
    """An entry with the commit that last changed it."""
    history, path = list(repository.history(commit.id)), found["path"]
    last = next(
        one
        for one, before in zip(history, [*history[1:], None], strict=True)
        if before is None or before.tree.get(path) != one.tree.get(path)
    )
    scan = {"status": "safe", "avScan": None, "pickleImportScan": None}
    return found | {
        "lastCommit": {"id": last.id, "title": last.title, "date": last.date},
        "securityFileStatus": scan,
    }


def tree(request: Request):
    repository, _, commit = at(request)
    folder = request.groups.get("path", "")
    start, found = f"{folder}/" if folder else "", {}
    for path, file in sorted(commit.tree.items()):
        if path.startswith(start):
            parts = path[len(start) :].split("/")
            for depth in range(1, len(parts)):
                inner = start + "/".join(parts[:depth])
                found[inner] = {"type": "directory", "path": inner, "oid": "0" * 40, "size": 0}
            found[path] = entry(path, file)
    if not found and folder:
        raise Refusal(404, "No such folder", "EntryNotFound", {"X-Repo-Commit": commit.id})
    if request.args.get("recursive", "").lower() not in ("true", "1"):
        found = {path: item for path, item in found.items() if "/" not in path[len(start) :]}
    if request.args.get("expand", "").lower() in ("true", "1"):
        found = {path: expanded(repository, commit, item) for path, item in found.items()}
    return list(found.values())


def paths_info(request: Request):
    _, _, commit = at(request)
    return [entry(path, commit.tree[path]) for path in request.form.getlist("paths") if path in commit.tree]


def refs(request: Request):
    repository = request.repository()

    def under(prefix: str) -> list[dict]:
        return [
            {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": head}
            for ref, head in repository.refs.items()
            if ref.startswith(prefix)
        ]

    found = {"branches": under("refs/heads/"), "tags": under("refs/tags/"), "converts": under("refs/convert/")}
    return found | ({"pullRequests": under("refs/pr/")} if "include_prs" in request.args else {})


def commits(request: Request):
    repository, _, commit = at(request)
    return [
        {"id": c.id, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": request.user or "-"}]}
        for c in repository.history(commit.id)
    ]


def make_ref(request: Request):
    repository = request.repository(write=True)
    if request.groups["what"] == "tag":  # its path names the revision
        ref, start = f"refs/tags/{request.json['tag']}", request.groups["name"]
    else:
        ref, start = f"refs/heads/{request.groups['name']}", request.json.get("startingPoint", "main")
    if ref in repository.refs:
        raise Refusal(409, f"{ref} exists already")
    _, commit = repository.find(start)
    if commit is None:
        raise Refusal(404, "Invalid rev id", "RevisionNotFound")
    repository.refs[ref] = commit.id
    return {}


def remove_ref(request: Request):
    repository = request.repository(write=True)
    ref = f"refs/{'tags' if request.groups['what'] == 'tag' else 'heads'}/{request.groups['name']}"
    if ref not in repository.refs:
        raise Refusal(404, "Invalid rev id", "RevisionNotFound")
    repository.remove_ref(ref)
    return {}


def squash(request: Request):
    repository = request.repository(write=True)
    ref = f"refs/heads/{request.groups['name']}"
    if ref not in repository.refs:
        raise Refusal(400, "Only a branch can be squashed")
    repository.squash(ref, request.json.get("message", "Super-squash"))
    return {}


def resolve(request: Request):
    repository, _, commit = at(request)
    headers, file = {"X-Repo-Commit": commit.id}, commit.tree.get(request.groups["path"])
    content = repository.content(file) if file else None
    if content is None:
        raise Refusal(404, "Entry not found", "EntryNotFound", headers)
    tag = file.sha256 or file.oid
    return reply(content, headers=headers | {"ETag": f'"{tag}"'})


KIND = "<any(models, datasets, spaces):kind>"
REPO = f"/api/{KIND}/<name:id>"
ROUTES = [
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/repos/create", create),
    ("DELETE", "/api/repos/delete", delete),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("PUT", f"{REPO}/settings", settings),
    ("GET", REPO, info),
    ("GET", f"{REPO}/revision/<rev>", info),
    ("GET", f"{REPO}/tree/<rev>", tree),
    ("GET", f"{REPO}/tree/<rev>/<path:path>", tree),
    ("POST", f"{REPO}/paths-info/<rev>", paths_info),
    ("GET", f"{REPO}/refs", refs),
    ("GET", f"{REPO}/commits/<rev>", commits),
    ("POST", f"{REPO}/<any(branch, tag):what>/<name>", make_ref),
    ("DELETE", f"{REPO}/<any(branch, tag):what>/<name>", remove_ref),
    ("POST", f"{REPO}/super-squash/<name>", squash),
    ("GET", "/<name:id>/resolve/<rev>/<path:path>", resolve),
    ("GET", f"/{KIND}/<name:id>/resolve/<rev>/<path:path>", resolve),
]
