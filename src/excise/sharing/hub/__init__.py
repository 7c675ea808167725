"""Hub: pushing, purging and auditing of repositories. Nothing else sends anything."""

from excise.sharing.hub.account import NotPushedError
from excise.sharing.hub.audit import Audit, Finding, audit_repo
from excise.sharing.hub.publishing import download, publish
from excise.sharing.hub.purge import LeftoversError
from excise.sharing.hub.push import PushInfo, push_bundle

__all__ = [
    "Audit",
    "Finding",
    "LeftoversError",
    "NotPushedError",
    "PushInfo",
    "audit_repo",
    "download",
    "publish",
    "push_bundle",
]
