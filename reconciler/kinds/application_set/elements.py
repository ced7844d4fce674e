"""Which clusters an application set is for, as the elements of its list generator. Pure; called by looking and steps.

Everything here comes from records, never from asking the clusters: one that cannot be reached for a while keeps its
element, because without it Argo CD would delete what runs there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.kind import KnownCluster
from reconciler.kinds.application_set.spec import INGRESS_CLASS, Selector, SetSpec

Element = Mapping[str, Any]


def elements_of(spec: SetSpec, clusters: Mapping[str, KnownCluster]) -> list[dict[str, str]]:
    """An element for each selected cluster that is to stay and was seen to work, sorted by name."""
    chosen = (one for _, one in sorted(clusters.items()) if one.is_wanted and one.was_verified)
    return [_element(spec, one.name) for one in chosen if is_selected(spec.selector, one)]


def is_selected(selector: Selector, cluster: KnownCluster) -> bool:
    """Whether a cluster is meant. Without a word about `role`, only business clusters are."""
    if not selector.names("role") and cluster.role != "business":
        return False
    labels = _labels(cluster)
    return all(labels.get(key) == value for key, value in selector.labels.items()) and all(
        _holds(labels.get(key), operator, values) for key, operator, values in selector.expressions
    )


def names_in(elements: Sequence[Any]) -> list[str]:
    """The clusters that elements are for, in their order; an element of another shape by its place, `#3`."""
    return [
        str(one["clusterName"]) if isinstance(one, Mapping) and one.get("clusterName") else f"#{number}"
        for number, one in enumerate(elements, 1)
    ]


def difference(wanted: Sequence[Element], live: Sequence[Any]) -> dict[str, Any]:
    """What has to happen to the live elements: toAdd, toRemove (names), toChange (fields by name). Empty: nothing.

    Their order means nothing to Argo CD and is not compared.
    """
    there = names_in(live)
    by_name = dict(zip(there, live, strict=True))
    named = {str(one["clusterName"]): one for one in wanted}
    differing = {name: _fields(one, by_name[name]) for name, one in named.items() if name in by_name}
    found: dict[str, Any] = {
        "toAdd": [name for name in named if name not in by_name],
        "toRemove": sorted({name for name, count in Counter(there).items() if name not in named or count > 1}),
        "toChange": {name: fields for name, fields in differing.items() if fields},
    }
    return {what: names for what, names in found.items() if names}


def _element(spec: SetSpec, name: str) -> dict[str, str]:
    own = {"hostEnv": name, "branch": name, "ingressClass": INGRESS_CLASS}
    values = {**own, **spec.values, **spec.values_by_cluster.get(name, {})}
    return {"env": name, "clusterName": name, **values}


def _labels(cluster: KnownCluster) -> dict[str, str]:
    """The labels of its document, and what its record says, which counts where both say something."""
    recorded = {
        "name": cluster.name,
        "provider": cluster.provider,
        "environment": cluster.environment,
        "role": cluster.role,
    }
    return {**cluster.labels, **{key: value for key, value in recorded.items() if value}}


def _holds(value: str | None, operator: str, values: Sequence[str]) -> bool:
    """As Kubernetes judges: NotIn holds also where there is no such label."""
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[operator]


def _fields(wanted: Element, live: Any) -> list[str]:
    there = live if isinstance(live, Mapping) else {}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
