"""Questions that a client asks by creating an object (`kubectl auth can-i`, `auth whoami`): answered, never stored.

Called by `api`. Whoever has a token of the cluster may do everything, and every answer says so.
"""

from __future__ import annotations

from typing import Any

from reconciler.sandbox import admission, objects
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.resources import ACCESS_REVIEWS, RULES_REVIEWS
from reconciler.sandbox.targets import Target, WriteOptions, Written

_USER = {"username": "sandbox-admin", "groups": ["system:masters", "system:authenticated"]}


def answer(cluster: Cluster, target: Target, body: Any, options: WriteOptions) -> Written:
    """The question with its answer in `status`. ApiError 400, 422."""
    body = objects.check_identity(target.type, body, "", "")
    warnings: list[str] = []
    value = admission.decoded(cluster, target.type, body, options, warnings)
    value["metadata"] = {"creationTimestamp": None}
    if target.type is ACCESS_REVIEWS:
        value["status"] = {"allowed": True, "reason": "a token of this cluster may do everything"}
    elif target.type is RULES_REVIEWS:
        resources = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        paths = {"verbs": ["*"], "nonResourceURLs": ["*"]}
        value["status"] = {"resourceRules": [resources], "nonResourceRules": [paths], "incomplete": False}
    else:
        value["status"] = {"userInfo": _USER}
    return Written(value, True, warnings)
