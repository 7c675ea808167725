"""Paths and Hub ids: which of the two a name is, and what lies near a path that is not there."""

import difflib
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

# What a data set on the Hub may be called: a name, or an owner and a name.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
# What a file's name may end in; a Hub id that does is taken for a file.
FILE_ENDING = re.compile(
    r"\.(parquet|pq|csv|tsv|tab|txt|jsonl?|ndjson|arrow|feather|xlsx?|xlsm|ods|zip|tar|tgz|gz|bz2|xz|zst|7z|rar|pkl|pickle"
    r"|npy|npz|h5|hdf5|db|sqlite3?|xml|tmx|html?|pdf|docx?|md|ya?ml|py|png|jpe?g)",
    re.IGNORECASE,
)
# As many names of a folder are shown where none is near.
MOST_SHOWN = 5
# In a folder of more, no near name is looked for.
MOST_NAMES = 10_000
# So long the Hub is waited for.
SECONDS = 5


def existing_path(name: str | os.PathLike) -> Path | None:
    """The absolute path of a file or folder that is there, links resolved no further; None where nothing is.

    A name is first taken as it stands, and then with the home folder for `~`.
    """
    paths = (Path(name), Path(name).expanduser())
    return next((Path(os.path.abspath(path)) for path in paths if os.path.exists(path)), None)


def is_hub_id(name: str | os.PathLike) -> bool:
    """Whether a name that is no path which exists may be a Hub id.

    >>> [is_hub_id(name) for name in ("opus_books", "owner/name", "data/pairs.csv", "./pairs", "a/b/c", "~/pairs")]
    [True, True, False, False, False, False]
    """
    if not isinstance(name, str):
        return False
    return HUB_ID.fullmatch(name) is not None and FILE_ENDING.fullmatch(Path(name).suffix) is None


def is_local(name: str) -> bool:
    """Whether a name that is no path which exists is meant as one: its first part is a folder here.

    >>> is_local("no-such-folder/pairs")
    False
    """
    first, slash, _ = name.partition("/")
    return bool(slash) and Path(first).is_dir()


def hub_is_out_of_reach() -> bool:
    """Whether the Hub cannot be asked, as this machine is offline: told in seconds, where its client tries for long."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    address = urlsplit(constants.ENDPOINT)
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return False  # the proxy finds it
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=SECONDS).close()
    except OSError:
        return True
    return False


def why_not_on_hub(name: str) -> str | None:
    """Why the Hub gives no data set of a name, told in seconds; None where it has one, or may have."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    unreached = f"the Hub, which may have a data set {name}, cannot be reached"
    if hub_is_out_of_reach():
        return unreached
    try:
        HfApi().dataset_info(name, timeout=SECONDS)
    except GatedRepoError:
        return None  # loading it says who may
    except RepositoryNotFoundError:
        return f"the Hub has no data set {name} that you may read"
    except HfHubHTTPError:
        return None
    except Exception:  # of the client's library, of which there are several
        return unreached
    return None


def not_there(name: str | os.PathLike) -> str:
    """The sentences that say of a path that it is not there, and what is near it."""
    if re.match(r"[A-Za-z][A-Za-z0-9+]*://", str(name)):
        return f"{name} is an address, which is not read from here. Download it, and give the path of the file."
    path = Path(name).expanduser()
    if path.is_symlink():
        return f"There is no file {name}: it is a link to {os.readlink(path)}, which is not there."
    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir() and folder != folder.parent:
            missing, folder = folder, folder.parent
        return f"There is no file {name}, as there is no folder {missing}.{_shown(folder, missing.name)}"
    return f"There is no file {name}.{_shown(folder, path.name)}"


def near_names(name: str, names: list[str]) -> list[str]:
    """Those of some names that one may have been meant for, the nearest first.

    >>> near_names("EN", ["fr", "en", "de"])
    ['en']
    """
    folded = {other.casefold(): other for other in reversed(names)}
    return [folded[hit] for hit in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)]


def near_entries(name: str, others: Sequence[str] = ()) -> list[str]:
    """What a name may have been meant for: files and folders here, with or without their endings, and some others.

    Args:
        name: what nothing is called.
        others: names beside those, of which the part behind a colon may stand for the whole.
    """
    try:
        with os.scandir(Path(name).parent if Path(name).parent.is_dir() else ".") as entries:
            here = [entry.path.removeprefix("./") for _, entry in zip(range(MOST_NAMES), entries, strict=False)]
    except OSError:
        here = []
    short = {Path(path).name.partition(".")[0] or Path(path).name: path for path in sorted(here, reverse=True)}
    short |= {other.rpartition(":")[2]: other for other in reversed(others)}
    whole = {Path(path).name: path for path in sorted(here)} | {other: other for other in others}
    known = short | whole
    return list(dict.fromkeys(known[near] for near in near_names(Path(name).name, list(known))))


def _shown(folder: Path, name: str) -> str:
    """A sentence on what a folder holds, near names before others."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for _, entry in zip(range(MOST_NAMES), entries, strict=False))
    except OSError:
        return ""
    if near := near_names(name, names):
        return f" Did you mean {' or '.join(near)}, in {folder}?"
    shown = [other for other in names if not other.startswith(".")]
    if not shown:
        return f" The folder {folder} is empty."
    return f" The folder {folder} holds {', '.join(shown[:MOST_SHOWN])}{', ...' if len(shown) > MOST_SHOWN else ''}."
