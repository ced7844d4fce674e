"""The custom resources of Flux and Argo CD: our trimmed definitions, and the real ones where somebody has them.

Tests that need Flux' or Argo CD's types in a sandbox cluster apply `trimmed()`. The real definitions are large and not
ours; a folder of them is named by RECONCILER_REAL_CRDS or found as `crds` beside the checkout.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TRIMMED = ROOT / "examples" / "gitops" / "specs" / "crds"
FLUX = ("source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io")
ARGO = ("argoproj.io",)
VARIABLE = "RECONCILER_REAL_CRDS"

Definition = dict[str, Any]


def trimmed(*groups: str) -> list[Definition]:
    """Our definitions, of these API groups (`FLUX`, `ARGO`) or all, as objects to apply."""
    return [one for one in definitions(TRIMMED) if not groups or one["spec"]["group"] in groups]


def real_folder() -> Path | None:
    """Where the real definitions are: as the variable says, or in `data/crds` of a folder beside the checkout."""
    named = os.environ.get(VARIABLE)
    candidates = [Path(named)] if named else sorted(ROOT.parent.glob("*/data/crds"))
    return next((folder for folder in candidates if folder.is_dir()), None)


def definitions(folder: Path) -> list[Definition]:
    """Every CustomResourceDefinition in the files of a folder."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = (one for path in sorted(folder.glob("*.yaml")) for one in yaml.load_all(path.read_text(), loader))
    return [one for one in documents if one and one.get("kind") == "CustomResourceDefinition"]


class Definitions:
    """What a set of definitions says of objects, as strictly as a user would want: unknown fields are faults too."""

    def __init__(self, found: list[Definition]) -> None:
        self._schemas = {
            (f"{one['spec']['group']}/{version['name']}", one["spec"]["names"]["kind"]): (one, version)
            for one in found
            for version in one["spec"]["versions"]
            if version["served"]
        }

    def faults(self, manifest: Mapping[str, Any]) -> list[str]:
        """What is wrong with an object: what the API server would refuse, and fields that it would drop."""
        import jsonschema

        key = (manifest["apiVersion"], manifest["kind"])
        if key not in self._schemas:
            return [f"no definition serves {key[1]} of {key[0]}"]
        definition, version = self._schemas[key]
        if (definition["spec"]["scope"] == "Namespaced") != ("namespace" in manifest["metadata"]):
            return [f"{key[1]} is {definition['spec']['scope']}"]
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {"apiVersion": {"const": key[0]}, "kind": {"const": key[1]}, "metadata": _METADATA}
        errors = jsonschema.Draft202012Validator(schema).iter_errors(manifest)
        return [f"{error.json_path}: {error.message}" for error in errors]


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"},
        "namespace": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"},
        "labels": {**_TEXTS, "additionalProperties": {"type": "string", "pattern": r"^[\w.-]{0,63}$"}},
        "annotations": _TEXTS,
        "finalizers": {"type": "array", "items": {"type": "string"}},
    },
}


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An OpenAPI schema of a definition as JSON Schema, in which a field that is not declared is a fault."""
    words = {
        word: schema[word]
        for word in ("type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "required")
        if word in schema
    }
    if schema.get("x-kubernetes-int-or-string"):
        words["type"] = ["integer", "string"]
    if schema.get("nullable"):
        words["type"] = [words["type"], "null"]
    keeps = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if "properties" in schema or schema.get("type") == "object":
        words["properties"] = {name: _strict(member) for name, member in schema.get("properties", {}).items()}
        further = schema.get("additionalProperties", keeps)
        words["additionalProperties"] = _strict(further) if isinstance(further, Mapping) else bool(further)
    if isinstance(schema.get("items"), Mapping):
        words["items"] = _strict(schema["items"])
    return words


def left_out_checks(ours: Mapping[str, Any], real: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Where a trimmed schema is more than a part of the real one: fields that are not there, checks that differ."""
    for word in sorted({*ours, *real} - {"description", "properties", "items", "additionalProperties"}):
        if ours.get(word) != real.get(word) and not word.startswith("x-kubernetes-validations"):
            yield f"{path}: {word} is {ours.get(word)!r}, really {real.get(word)!r}"
    for name, member in ours.get("properties", {}).items():
        if name not in real.get("properties", {}):
            yield f"{path}.{name}: there is no such field"
        else:
            yield from left_out_checks(member, real["properties"][name], f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(ours.get(word), Mapping):
            yield from left_out_checks(ours[word], real.get(word, {}), f"{path}[]")
