"""A push that is killed at whatever point leaves an empty repository or a whole one, and can be done again."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys

import pytest

from excise.sharing.hub import audit_repo, push_bundle
from tests.helpers.local_hub.bundles import REPO, before, contents
from tests.helpers.local_hub.server import Fault

pytestmark = pytest.mark.usefixtures("small_sizes")

# The first ones of these points are tried each time.
POINTS, FIRST_POINTS = 30, 10
PURGES, FIRST_PURGES = 12, 4


def seeds(first, total):
    """Numbers from 0; those after the first ones are of the slow tests."""
    return [seed if seed < first else pytest.param(seed, marks=pytest.mark.slow) for seed in range(total)]


@pytest.fixture(scope="session")
def pusher(root):
    """The process that makes children which push."""
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_write", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.local_hub.pusher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=root,
        env=environment,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def rows(made, tmp_path_factory):
    """The erased rows in a file."""
    path = tmp_path_factory.mktemp("rows") / "rows"
    path.write_bytes(pickle.dumps(made["delete"].erased))
    return path


@pytest.fixture
def kill(hub, pusher, made, rows):
    """Pushes in a child that is killed by a fault of the server; gives how it ended."""

    def run(fault: Fault | None, **options) -> int:
        arguments = [str(made["delete"].folder), REPO, str(rows), options]
        pusher.stdin.write(json.dumps(arguments) + "\n")
        pusher.stdin.flush()
        child = int(pusher.stdout.readline())
        if fault:
            fault.then = lambda: os.kill(child, signal.SIGKILL)
            hub.faults = [fault]
        pusher.stdin.write("begin\n")
        pusher.stdin.flush()
        return int(pusher.stdout.readline())

    return run


def point(seed: int, requests: list) -> Fault:
    """A random request; the client dies before it has sent all of it, when it has, or before it hears the answer."""
    rng = random.Random(seed)
    # Most requests only ask: every other time it is one that sends something.
    sends = [number for number, (name, *_) in enumerate(requests) if not name.startswith("GET")]
    number = rng.choice(sends if seed % 2 else range(len(requests)))
    size = requests[number][2]
    kind = rng.choice(["part", "all", "done"])
    return Fault(skip=number, read=rng.randrange(size) if kind == "part" and size else None, done=kind == "done")


def at_main(hub) -> dict[str, bytes] | None:
    """The files of the repository, if it is there."""
    if ("model", REPO) not in hub.repositories:
        return None
    repository = hub.repository(REPO)
    tree = repository.find("main")[1].tree
    return {path: repository.content(file) for path, file in tree.items() if path != ".gitattributes"}


@pytest.fixture(scope="session")
def fresh_requests() -> list:
    """The requests of a push to a new repository, as the first test of it fills them in."""
    return []


@pytest.fixture(scope="session")
def purge_requests() -> list:
    """The same of a push that purges."""
    return []


@pytest.mark.parametrize("seed", seeds(FIRST_POINTS, POINTS))
def test_a_killed_push_leaves_nothing_or_all_and_a_retry_succeeds(hub, api, kill, made, fresh_requests, seed):
    if not fresh_requests:
        assert kill(None) == 0
        fresh_requests += hub.log
        assert at_main(hub) == contents(made["delete"].folder)
        api.delete_repo(REPO)
    assert kill(point(seed, fresh_requests)) == -signal.SIGKILL
    assert at_main(hub) in (None, {}, contents(made["delete"].folder))
    push_bundle(made["delete"].folder, REPO, erased=made["delete"].erased)
    assert at_main(hub) == contents(made["delete"].folder)
    assert len(api.list_repo_commits(REPO)) == 2  # once, however often it was tried
    assert set(hub.repository(REPO).objects.values()) <= set(contents(made["delete"].folder).values())


@pytest.mark.parametrize("seed", seeds(FIRST_PURGES, PURGES))
def test_a_killed_purge_leaves_the_old_model_or_the_new_one_and_a_retry_succeeds(
    hub, api, kill, made, purge_requests, seed
):
    if not purge_requests:
        before().push_to_hub(REPO)
        hub.log.clear()
        assert kill(None, purge_history=True) == 0
        purge_requests += hub.log
        api.delete_repo(REPO)
    old = before().push_to_hub(REPO).oid
    assert kill(point(seed, purge_requests), purge_history=True) == -signal.SIGKILL
    assert api.model_info(REPO).sha == old or at_main(hub) == contents(made["delete"].folder)
    done = push_bundle(made["delete"].folder, REPO, erased=made["delete"].erased, purge_history=True)
    assert at_main(hub) == contents(made["delete"].folder) and audit_repo(REPO, made["delete"].erased) == []
    assert [commit.commit_id for commit in api.list_repo_commits(REPO)] == [done.oid]
