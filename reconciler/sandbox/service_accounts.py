"""Tokens of service accounts: filled into Secrets that ask for one, and accepted. Called by `controllers` and `api`.

A Secret of type `kubernetes.io/service-account-token` names its account in an annotation. As long as both are there its
token is good; without the account the Secret goes as well. What the account may do is not asked: see `reviews`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from reconciler.sandbox import deletion
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.deletion import DeleteOptions
from reconciler.sandbox.ownership import is_going, update
from reconciler.sandbox.resource_types import Key
from reconciler.sandbox.resources import SECRETS, SERVICE_ACCOUNTS
from reconciler.sandbox.state import Stored

TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"
_ISSUER = "kubernetes/serviceaccount"
_HEADER = {"alg": "HS256"}


def token_secrets(cluster: Cluster, namespace: str) -> list[Key]:
    """The Secrets of a namespace that hold tokens: to be looked at when one of its accounts has changed."""
    found = cluster.state.select(SECRETS.resource, namespace)
    return [one.key for one in found if one.value.get("type") == TYPE]


def sync_secret(cluster: Cluster, stored: Stored) -> None:
    """Fill in the token, the authority and the namespace; delete a Secret whose account is not there."""
    if stored.value.get("type") != TYPE or is_going(stored):
        return
    account = _account(cluster, stored)
    if account is None:
        deletion.delete_object(cluster, SECRETS, stored, DeleteOptions())
        return
    value = stored.copy()
    value["metadata"]["annotations"][UID] = account.uid
    filled = {"token": _token(cluster, stored, account), "ca.crt": cluster.authority, "namespace": stored.key.namespace}
    value["data"] = {**(value.get("data") or {}), **{name: _encoded(text) for name, text in filled.items()}}
    update(cluster, stored, value)


def accepts(cluster: Cluster, token: str) -> bool:
    """Whether it is the token of a Secret that is there now, for an account that is there now."""
    claims = _claims(token)
    names = [claims.get(f"{_ISSUER}/{name}") for name in ("namespace", "secret.name")]
    if not all(isinstance(name, str) and name for name in names):
        return False
    stored = cluster.state.get(SECRETS.key(str(names[0]), str(names[1])))
    account = _account(cluster, stored) if stored is not None and stored.value.get("type") == TYPE else None
    if stored is None or account is None:
        return False
    return hmac.compare_digest(_token(cluster, stored, account).encode(), token.encode())


def _account(cluster: Cluster, stored: Stored) -> Stored | None:
    """The account that a Secret names, if it is the one that it named before."""
    annotations = stored.value["metadata"].get("annotations") or {}
    account = cluster.state.get(SERVICE_ACCOUNTS.key(stored.key.namespace, str(annotations.get(NAME))))
    if account is None or is_going(account) or annotations.get(UID, account.uid) != account.uid:
        return None
    return account


def _token(cluster: Cluster, stored: Stored, account: Stored) -> str:
    """A JSON web token, the same each time, that only this cluster can make."""
    claims = {
        "iss": _ISSUER,
        f"{_ISSUER}/namespace": stored.key.namespace,
        f"{_ISSUER}/secret.name": stored.key.name,
        f"{_ISSUER}/service-account.name": account.key.name,
        f"{_ISSUER}/service-account.uid": account.uid,
        "sub": f"system:serviceaccount:{stored.key.namespace}:{account.key.name}",
    }
    signed = f"{_part(json.dumps(_HEADER).encode())}.{_part(json.dumps(claims).encode())}"
    key = hashlib.sha256(f"{_ISSUER}:{cluster.token}:{stored.uid}".encode()).digest()
    return f"{signed}.{_part(hmac.digest(key, signed.encode(), 'sha256'))}"


def _claims(token: str) -> dict[str, Any]:
    """What a token says of itself, unproved; nothing for what is no token."""
    parts = token.split(".")
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))) if len(parts) == 3 else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
