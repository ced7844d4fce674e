"""What the loader knows of each file, and how one file is read. Only `loader` uses it."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.kind import Kind
from reconciler.loading.documents import LATE, DocumentReader, FindingsError, LoadOptions, described
from reconciler.loading.messages import Finding
from reconciler.loading.outside import Named, Outside
from reconciler.loading.problems import Problem
from reconciler.loading.reader import Document, Path, Places, YamlError, nearest_place, read_documents, read_places
from reconciler.loading.sources import VARIABLES_FILE, DocumentSource, Signature, SourceError
from reconciler.loading.variables import BLOCK, OPENING, Budget, Variables, uses_variables
from reconciler.model.resource import Resource, ResourceRef, Source

_MAX_WRONG = 50
_HIDDEN_BY_ESCAPES = b"\\"  # "\x7b" is a brace as well


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A valid resource and what it needs first. Compared by identity: another reading makes another one."""

    resource: Resource
    requires: tuple[ResourceRef, ...]


@dataclass(slots=True, eq=False)
class FileState:
    """A file as it was last read.

    fresh: its resources, None while something in it is wrong by itself. accepted: those that last were valid together
    with all other files. problems: what is wrong by itself. named: what it names outside. signature, digest: of its
    content when it was read; None to read it again. was_read: `fresh` is from this load.
    """

    path: str
    shown: str
    owner: str
    signature: Signature | None = None
    digest: bytes | None = None
    uses_variables: bool = False
    named: tuple[Named, ...] = ()
    fresh: tuple[Loaded, ...] | None = None
    accepted: tuple[Loaded, ...] = ()
    problems: tuple[Problem, ...] = ()
    was_read: bool = False

    def is_no_document(self, named: Collection[str]) -> bool:
        """True for a file that a document names and that never held a document of ours, such as a manifest.

        Only where it never did: naming a file must not make the resources in it disappear.
        """
        return self.path in named and self.fresh is None and not self.accepted

    def problem(self, message: str, line: int = 0, column: int = 0, ref: ResourceRef | None = None) -> Problem:
        """A problem of this file."""
        return Problem(self.shown, line, column, message, self.owner, ref)

    def break_with(self, problem: Problem) -> None:
        """Nothing of the file can be used now; it is read again the next time."""
        self.signature = self.digest = self.fresh = None
        self.problems = (problem,)
        self.was_read = True


@dataclass(slots=True)
class VariablesState:
    """`vars.yaml` as last read, with `-e` over it. variables: None while they are broken. version: counts changes."""

    file: FileState
    variables: Variables | None
    version: int = 0
    content: bytes = b""


class FileReader:
    """Reads files of one source."""

    def __init__(self, source: DocumentSource, kinds: Mapping[str, Kind], options: LoadOptions) -> None:
        self._source = source
        self._kinds = kinds
        self._options = options
        self._documents = DocumentReader(kinds, options)

    def new_state(self, path: str) -> FileState:
        """The state of a file that was never read."""
        return FileState(path, self._source.shown(path), self._source.owner(path))

    def is_current(self, state: FileState, signature: Signature | None) -> bool:
        """True when neither the file nor anything that it names can have changed since it was read."""
        if signature is None or signature != state.signature:
            return False
        return not state.named or not self._names_changed(state)

    def read(self, state: FileState, signature: Signature | None, variables: Variables | None, *, forced: bool) -> None:
        """Read a file again. forced: parse it even if its bytes are the same, because the variables have changed."""
        try:
            content = self._source.read(state.path)
        except SourceError as error:
            message = "vanished while it was read" if error.missing else error.message
            state.break_with(state.problem(message))
            return
        digest = hashlib.sha256(content).digest()
        is_same = digest == state.digest and not forced and not self._names_changed(state)
        state.signature, state.digest = signature, digest
        if not is_same:
            self._parse(state, content, variables)

    def read_variables(self, state: VariablesState, signature: Signature | None) -> None:
        """Read `vars.yaml` again if it has changed."""
        file = state.file
        if signature is not None and signature == file.signature:
            return
        try:
            content = self._source.read(VARIABLES_FILE)
        except SourceError as error:
            self.break_variables(state, error.message)
            return
        file.signature = signature
        if content != state.content or file.fresh is None:
            state.content = content
            state.version += 1
            file.problems = ()
            file.fresh = ()
            state.variables = self._parse_variables(file, content)

    def break_variables(self, state: VariablesState, message: str) -> None:
        """`vars.yaml` is there and cannot be read."""
        if state.variables is not None or not state.file.problems:
            state.version += 1
        state.variables = None
        state.file.break_with(state.file.problem(message))

    def no_variables(self, state: VariablesState) -> None:
        """There is no `vars.yaml`: only those of `-e` count."""
        if state.content or state.file.problems or state.version == 0:
            state.version += 1
            state.content = b""
            state.file.signature, state.file.problems, state.file.fresh = None, (), None
            state.variables = Variables(self._options.variables)
            findings = state.variables.resolve_all()
            if findings:
                state.variables = None
                state.file.problems = tuple(
                    Problem("-e", 0, 0, described(finding), "option:-e") for finding in findings
                )

    def _parse_variables(self, file: FileState, content: bytes) -> Variables | None:
        try:
            documents = read_documents(content)
        except YamlError as error:
            file.problems = (file.problem(error.message, error.line, error.column),)
            return None
        if len(documents) > 1 or (documents and not isinstance(documents[0].value, dict)):
            last = documents[-1]
            file.problems = (file.problem("expected one mapping of names to values", last.line, last.column),)
            return None
        written = documents[0].value if documents else {}
        variables = Variables({**written, **self._options.variables})
        findings = [
            Finding((name,), "is not a name: letters, digits and _ only") for name in written if not name.isidentifier()
        ]
        if findings := findings + variables.resolve_all():
            places = read_places(content)[documents[0].index] if documents else {}
            file.problems = tuple(
                file.problem(described(finding), *(nearest_place(places, finding.path))) for finding in findings
            )
            return None
        return variables

    def _names_changed(self, state: FileState) -> bool:
        return bool(state.named) and any(map(self._outside(state).has_changed, state.named))

    def _outside(self, state: FileState) -> Outside:
        return Outside(self._options.secret_rules, self._options.digest_key, self._source, state.path)

    def _parse(self, state: FileState, content: bytes, variables: Variables | None) -> None:
        """Take over what the file says now: all of its resources, or what is wrong with it."""
        state.fresh, state.named, state.uses_variables, state.was_read = None, (), False, True
        try:
            documents = read_documents(content)
        except YamlError as error:
            state.problems = (state.problem(error.message, error.line, error.column),)
            return
        if not content.removeprefix(codecs.BOM_UTF8).strip():
            # Editors truncate before they write: no content at all is never taken for "nothing is wanted".
            state.problems = (
                state.problem("is empty: to want nothing, delete the file or leave a comment in it", 1, 1),
            )
            return
        outside = self._outside(state)
        budget = Budget()
        has_escapes = _HIDDEN_BY_ESCAPES in content
        may_have_variables = has_escapes or OPENING.encode() in content or BLOCK.encode() in content
        may_have_late = has_escapes or LATE.encode() in content
        loaded: list[Loaded] = []
        wrong: list[tuple[Document, FindingsError]] = []
        for document in documents:
            try:
                value, has_variables = document.value, False
                if may_have_variables and uses_variables(value):
                    state.uses_variables = has_variables = True
                    value = _rendered(value, variables, budget)
                source = Source(state.owner, document.line, document.column, self._source.revision)
                may_be_late = may_have_late or has_variables
                resource = self._documents.resource(value, source, outside, may_have_late=may_be_late)
                loaded.append(Loaded(resource, self._requires(resource)))
            except FindingsError as error:
                wrong.append((document, error))
                if len(wrong) == _MAX_WRONG:
                    break
        state.named = tuple(outside.named)
        state.fresh = None if wrong else tuple(loaded)
        state.problems = _problems(state, content, wrong)

    def _requires(self, resource: Resource) -> tuple[ResourceRef, ...]:
        """What a resource needs first, each once. Raises FindingsError."""
        try:
            references = self._kinds[resource.ref.kind].references(resource)
        except FindingsError:
            raise
        except ReconcilerError as error:
            raise FindingsError([Finding(("spec",), error.message)], resource.ref) from error
        if not references:
            return resource.lifecycle.depends_on
        return tuple(dict.fromkeys((*resource.lifecycle.depends_on, *references)))


def _rendered(value: Any, variables: Variables | None, budget: Budget) -> Any:
    """A document with its variables filled in. Raises FindingsError."""
    if variables is None:
        raise FindingsError([Finding(_first_use(value, ()), "uses variables, and those are broken")], None)
    findings: list[Finding] = []
    value = variables.rendered(value, findings, budget)
    if findings:
        raise FindingsError(findings, None)
    return value


def _first_use(value: Any, path: Path) -> Path:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((_first_use(member, (*path, name)) for name, member in members if uses_variables(member)), path)


def _problems(state: FileState, content: bytes, wrong: Sequence[tuple[Document, FindingsError]]) -> tuple[Problem, ...]:
    """What is wrong with a file's documents, with places found by reading it once more."""
    if not wrong:
        return ()
    places = read_places(content)
    return tuple(
        state.problem(described(finding), *_place(places[document.index], finding, document), error.ref)
        for document, error in wrong
        for finding in error.findings
    )


def _place(places: Places, finding: Finding, document: Document) -> tuple[int, int]:
    line, column = nearest_place(places, finding.path)
    return (line, column) if line else (document.line, document.column)
