"""Account on the Hub: whose token it is, and whether it may write."""

from importlib.metadata import version

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError


class NotPushedError(ValueError):
    """A push that was refused before its first byte, or of which nothing took effect."""


def client(token: str | bool | None) -> HfApi:
    """The client that everything goes through."""
    return HfApi(token=token, library_name="excise", library_version=version("excise"))


def check_writer(api: HfApi, repo_id: str, create_pr: bool = False) -> str:
    """Makes sure that the client's token may write to a repository.

    Args:
        api: the client.
        repo_id: with its namespace, or a name in the user's own.
        create_pr: whether a pull request is all that it has to make, which anyone may.

    Returns:
        The id with its namespace.

    Raises:
        NotPushedError: if there is no token, the Hub does not know it, or it may not write there.
    """
    try:
        who = api.whoami(cache=True)
    except LocalTokenNotFoundError:
        raise NotPushedError("There is no token to push with. Log in with `hf auth login`, or pass `token=`.") from None
    except HfHubHTTPError as error:
        if error.response.status_code != 401:
            raise
        raise NotPushedError(
            "The Hub does not know this token. Make one at https://huggingface.co/settings/tokens and log in again."
        ) from error
    token = who.get("auth", {}).get("accessToken", {})
    if not _writes(token):
        raise NotPushedError(
            f"The token {token.get('displayName', '')!r} of {who['name']} may only read. Pass one that may write."
        )
    namespace, _, name = repo_id.rpartition("/")
    own = [who["name"], *(organization["name"] for organization in who.get("orgs", []))]
    if namespace and namespace not in own and not create_pr:
        raise NotPushedError(f"{who['name']} cannot write to {repo_id}: give a name of {' or '.join(own)}.")
    return f"{namespace or who['name']}/{name}"


def _writes(token: dict) -> bool:
    if token.get("role") == "fineGrained":
        scopes = token.get("fineGrained", {}).get("scoped", [])
        return any("repo.write" in scope.get("permissions", []) for scope in scopes)
    return token.get("role") != "read"
