"""One document to one Resource: defaults, schema, late values, secrets, files, life cycle, digest.

The loader calls it for documents of files, `resource_from_document` is for those that come from the CLI or the API.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import SpecError
from reconciler.kind import Kind
from reconciler.loading.marks import Mark
from reconciler.loading.messages import Finding, schema_findings
from reconciler.loading.outside import Outside, SecretRules
from reconciler.loading.reader import MAX_DEPTH, MAX_INTEGER, MAX_NODES, Path
from reconciler.loading.schema import MIN_INTERVAL, KindSchema, kind_schema
from reconciler.loading.sources import SourceError
from reconciler.loading.text import dotted, is_clean, shorten, suggestion
from reconciler.model.digest import digest, stored_form
from reconciler.model.resource import API_VERSION, Lifecycle, Resource, ResourceRef, Source

LATE = "${"
_LATE_VALUE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]*)\}")
_DEFAULT_LIFECYCLE = Lifecycle()


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What loading depends on beside the documents.

    variables: from `-e`, before those of `vars.yaml`. digest_key: for the keyed digests of secrets; a random one makes
    digests that only this process can compare. secret_env, secret_files, allowed_by, files_anywhere: see
    SecretRules. defaults: spec fields by kind, merged below what a document says. known: resources outside this source
    that may be depended on. environ: where secret variables are looked up.
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    digest_key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    secret_env: tuple[str, ...] = ()
    secret_files: tuple[str, ...] = ()
    allowed_by: str = "secrets"
    files_anywhere: bool = True
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    known: Callable[[], Collection[ResourceRef]] = frozenset
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @property
    def secret_rules(self) -> SecretRules:
        """Which secrets may be read."""
        return SecretRules(self.secret_env, self.secret_files, self.environ, self.files_anywhere, self.allowed_by)


class FindingsError(SpecError):
    """A document that is no resource. findings: everything that is wrong with it. ref: which resource it is about."""

    def __init__(self, findings: Collection[Finding], ref: ResourceRef | None) -> None:
        self.findings = tuple(findings)
        self.ref = ref
        super().__init__("InvalidSpec", "\n".join(described(finding) for finding in self.findings))


def described(finding: Finding) -> str:
    """A finding in one line: `spec.size: expected …`."""
    place = dotted(finding.path)
    return f"{place}: {finding.message}" if place else finding.message


def resource_from_document(
    document: Mapping[str, Any], kinds: Mapping[str, Kind], options: LoadOptions, owner: str
) -> Resource:
    """A resource from a document that comes from the CLI or the API. Raises SpecError, a line for each wrong field.

    Variables are not rendered, and files beside the document cannot be named: there is no folder.
    """
    _check_plain(document)
    reader = DocumentReader(kinds, options)
    outside = Outside(options.secret_rules, options.digest_key)
    return reader.resource(dict(document), Source(owner), outside, may_have_late=True)


def resource_digest(labels: Mapping[str, str], lifecycle: Lifecycle, spec: Any, key: bytes | None) -> str:
    """`Resource.digest`: equal for two resources that want the same. key: None for a spec of plain JSON data."""
    stored = spec if key is None else stored_form(spec, key)
    return digest({"labels": labels, "lifecycle": lifecycle.to_document(), "spec": stored})


class DocumentReader:
    """Makes resources of documents. Holds the compiled schemas, one instance a loader."""

    def __init__(self, kinds: Mapping[str, Kind], options: LoadOptions) -> None:
        self._schemas: dict[str, KindSchema] = {}
        self._kinds = kinds
        self._options = options

    def resource(self, document: Any, source: Source, outside: Outside, *, may_have_late: bool) -> Resource:
        """The resource that a document describes. Raises FindingsError.

        may_have_late: False when no `${` occurs in its text, so that nobody needs to look for it.
        """
        if not isinstance(document, dict):
            raise FindingsError([Finding((), "expected a mapping with apiVersion, kind, metadata and spec")], None)
        schema = self._schema(document)
        document = self._with_defaults(document, schema.kind.name)
        ref = _ref_of(document)
        if not schema.validator.is_valid(document):
            raise FindingsError(_findings(schema, document), ref)
        lifecycle = _lifecycle(document, ref)
        spec = document["spec"]
        if may_have_late or schema.extractor is not None:
            spec = _Extraction(schema, outside).spec(document, ref, may_have_late=may_have_late)
        labels = document["metadata"].get("labels", {})
        key = None if spec is document["spec"] else self._options.digest_key
        assert ref is not None
        return Resource(ref, spec, labels, lifecycle, source, 0, resource_digest(labels, lifecycle, spec, key))

    def _schema(self, document: Mapping[str, Any]) -> KindSchema:
        """The schema for a document's kind. Raises FindingsError for an unknown one."""
        name = document.get("kind")
        if isinstance(name, str):
            if (known := self._schemas.get(name)) is not None:
                return known
            if name in self._kinds:
                self._schemas[name] = kind_schema(self._kinds[name])
                return self._schemas[name]
        raise FindingsError(_kind_findings(document, self._kinds), None)

    def _with_defaults(self, document: dict[str, Any], kind: str) -> dict[str, Any]:
        defaults = self._options.defaults.get(kind)
        if not defaults or not isinstance(document.get("spec"), dict):
            return document
        return {**document, "spec": merged(defaults, document["spec"])}


def merged(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` over `defaults`, mappings merged at every depth."""
    result = {**defaults, **values}
    for name in defaults.keys() & values.keys():
        if isinstance(defaults[name], Mapping) and isinstance(values[name], Mapping):
            result[name] = merged(defaults[name], values[name])
    return result


class _Extraction:
    """Replaces the marked fields of one document's spec."""

    def __init__(self, schema: KindSchema, outside: Outside) -> None:
        self._extractor = schema.extractor
        self._outside = outside
        self._findings: list[Finding] = []
        self._late: set[Path] = set()

    def spec(self, document: Mapping[str, Any], ref: ResourceRef | None, *, may_have_late: bool) -> Any:
        """The spec with secrets and files in it. Raises FindingsError."""
        spec = document["spec"]
        if self._extractor is not None:
            spec = self._extractor.extract(spec, ("spec",), self._visit)
        if may_have_late:
            self._refuse_late(document, ())
        if self._findings:
            raise FindingsError(self._findings, ref)
        return spec

    def _visit(self, mark: Mark, value: Any, path: Path) -> Any:
        try:
            if mark == "secret" and isinstance(value, dict):
                return self._outside.secret(value)
            if mark == "file" and isinstance(value, str):
                return self._outside.file(value)
            if mark == "file-anywhere" and isinstance(value, str):
                return self._outside.file_anywhere(value)
        except SourceError as error:
            self._findings.append(Finding(path, error.message))
        if mark == "late":
            self._late.add(path)
        return value

    def _refuse_late(self, value: Any, path: Path) -> None:
        if path in self._late:
            return
        if isinstance(value, str):
            if LATE in value and (match := _LATE_VALUE.search(value)):
                text = f"${{{shorten(match.group(1))}}} is known only later and not allowed in this field"
                self._findings.append(Finding(path, text))
        elif isinstance(value, dict):
            for name, member in value.items():
                self._refuse_late(member, (*path, name))
        elif isinstance(value, list):
            for index, member in enumerate(value):
                self._refuse_late(member, (*path, index))


def _findings(schema: KindSchema, document: Any) -> list[Finding]:
    """Why a document is not valid; never empty."""
    if found := schema_findings(schema.schema, document):
        return found
    # The two validators differ, e.g. in what `$` of a pattern means: then the one that decided says where.
    errors = schema.validator.iter_errors(document)
    return [Finding(tuple(error.instance_path), f"does not fit its {error.kind.name}") for error in errors]


def _kind_findings(document: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[Finding]:
    name = document.get("kind")
    if name is None:
        return [Finding((), f'the field "kind" is missing: one of {", ".join(sorted(kinds)) or "none known"}')]
    if not isinstance(name, str):
        return [Finding(("kind",), "expected the name of a kind")]
    findings = [Finding(("kind",), f'unknown kind "{shorten(name)}"{suggestion(name, sorted(kinds))}')]
    version = document.get("apiVersion")
    if version != API_VERSION and isinstance(version, str):
        findings.append(Finding(("apiVersion",), f'"{shorten(version)}" is not {API_VERSION}'))
    return findings


def _ref_of(document: Mapping[str, Any]) -> ResourceRef | None:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return ResourceRef(document["kind"], name) if isinstance(name, str) and len(name) < 254 else None


def _lifecycle(document: Mapping[str, Any], ref: ResourceRef | None) -> Lifecycle:
    written = document.get("lifecycle")
    if not written:
        return _DEFAULT_LIFECYCLE
    try:
        lifecycle = Lifecycle.from_document(written)
    except ValueError as error:
        raise FindingsError([Finding(("lifecycle", "interval"), shorten(str(error), 200))], ref) from error
    except SpecError as error:
        raise FindingsError([Finding(("lifecycle", "dependsOn"), error.message)], ref) from error
    if lifecycle.interval < MIN_INTERVAL:
        raise FindingsError([Finding(("lifecycle", "interval"), "is less than 1s")], ref)
    return lifecycle


def _check_plain(document: Any) -> None:
    """Raise SpecError for what is no plain JSON data of a sane size: it did not come through the YAML reader."""
    nodes = 0
    waiting: list[tuple[Any, Path]] = [(document, ())]
    while waiting:
        value, path = waiting.pop()
        nodes += 1
        problem = ""
        if isinstance(value, Mapping):
            if not all(isinstance(name, str) and is_clean(name) for name in value):
                problem = "has a key that is no text"
            else:
                waiting.extend((member, (*path, name)) for name, member in value.items())
        elif isinstance(value, list | tuple):
            waiting.extend((member, (*path, index)) for index, member in enumerate(value))
        else:
            problem = _scalar_problem(value)
        if len(path) > MAX_DEPTH or nodes > MAX_NODES:
            path, problem = (), "is nested too deeply or too large"
        if problem:
            raise FindingsError([Finding(path, problem)], None)


def _scalar_problem(value: Any) -> str:
    if isinstance(value, str):
        return "" if is_clean(value) else "holds a NUL or half of a surrogate pair"
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return "" if -MAX_INTEGER <= value < MAX_INTEGER else "is too large for a number"
    if isinstance(value, float):
        return "" if value - value == 0 else "is not a finite number"
    return "is not plain JSON data"
