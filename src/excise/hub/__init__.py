"""The one place that sends anything to the Hub, and that looks there for what must not be there."""

from excise.hub.account import NotPushedError
from excise.hub.audit import Audit, Finding, audit_repo
from excise.hub.publishing import download, publish
from excise.hub.purge import LeftoversError
from excise.hub.push import PushInfo, push_bundle

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
