"""Template folders as they are on disk: where one may lie, and reading one with bounds. Called by `rendering`.

    template.json    what it is, and the variables that it takes
    files/           what becomes the repository's files, once
    overlay/         what becomes the files of an environment's path, once an environment

Files that end in `.yaml.j2` or `.yml.j2` are templates and lose the `.j2`; every other file is taken byte by byte.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import SpecError

MANIFEST = "template.json"
FILES = "files"
OVERLAY = "overlay"
MAX_FILES = 500
MAX_FILE_BYTES = 1_000_000
MAX_BYTES = 5_000_000
_EDITORS = re.compile(r"\..+\.sw[a-z]|\.#.+|#.+#|.+~", re.DOTALL)
"""What editors leave beside a file as long as they have it open, or as it was before: nobody's template."""
BUILT_IN = Path(__file__).parent / "built_in"


@dataclass(frozen=True, slots=True)
class Folder:
    """A template as it was read. name: how messages call it. content: bytes by path below the folder, sorted."""

    name: str
    content: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Of every path and every byte."""
        found = hashlib.sha256()
        for path, content in self.content.items():
            found.update(f"{path}\0{len(content)}\0".encode())
            found.update(content)
        return found.hexdigest()


def built_in_names() -> list[str]:
    """The templates that we ship."""
    return sorted(path.parent.name for path in BUILT_IN.glob(f"*/{MANIFEST}"))


def locate(written: str, beside: Path | None, allowed: Sequence[str] = ()) -> Path:
    """The folder that a spec names. Raises SpecError unless it may be read.

    beside: the folder of the document, None when it is no file of this machine. allowed: folders of this machine that
    the settings let templates lie in. A relative path leads to a folder beside the document or below; an absolute one
    into a folder that is allowed. Otherwise whoever may write specs could have any folder of this machine pushed.
    """
    try:
        return _located(written, beside, allowed)
    except (OSError, RuntimeError) as error:  # the latter where "~name" is nobody's home
        message = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError("InvalidTemplate", f'template.path "{written[:200]}" cannot be read: {message}') from error


def _located(written: str, beside: Path | None, allowed: Sequence[str]) -> Path:
    if not written or "\0" in written:
        raise SpecError("InvalidTemplate", "template.path is no path")
    if written.startswith(("/", "~")):
        return _allowed_folder(written, allowed)
    if ".." in Path(written).parts:
        raise SpecError("InvalidTemplate", f'template.path "{written}" leads out of its folder: ".." is not allowed')
    if beside is None:
        message = f'template.path "{written}" is relative, and its document is no file of this machine'
        raise SpecError("InvalidTemplate", f"{message}: use an absolute path that the settings allow")
    return _inside(beside / written, beside, written)


def read_folder(folder: Path, name: str = "") -> Folder:
    """Everything in a template folder. Raises SpecError for links, special files and more than the bounds."""
    name = name or str(folder)
    try:
        return _folder(folder, name)
    except OSError as error:
        raise SpecError("InvalidTemplate", f"template {name} cannot be read: {error.strerror}") from error


def _folder(folder: Path, name: str) -> Folder:
    content: dict[str, bytes] = {}
    left = MAX_BYTES
    for path, size, descriptor in _walk(folder, name):
        left -= size
        if len(content) >= MAX_FILES or left < 0:
            limits = f"{MAX_FILES} files or {MAX_BYTES:,} bytes"
            raise SpecError("InvalidTemplate", f"template {name} has more than {limits}")
        content[path] = _read(descriptor, f"template {name}: {path}")
    if MANIFEST not in content:
        raise SpecError("InvalidTemplate", f"template {name} has no {MANIFEST}, so it is no template")
    return Folder(name, dict(sorted(content.items())))


def _allowed_folder(written: str, allowed: Sequence[str]) -> Path:
    for rule in allowed:
        base = Path(rule).expanduser()
        try:
            return _inside(Path(written).expanduser(), base, written)
        except SpecError:
            continue
    listed = ", ".join(allowed) or "none"
    message = f'template.path "{written}" may not be read: the setting kinds.Project.templateFolders allows {listed}'
    raise SpecError("InvalidTemplate", message)


def _inside(folder: Path, base: Path, written: str) -> Path:
    """The folder, if it really lies in `base`. Raises SpecError; a link on the way is refused wherever it leads."""
    if ".." in folder.parts or base not in (folder, *folder.parents):
        raise SpecError("InvalidTemplate", f'template.path "{written}" does not lie in {base}')
    below = Path(os.path.realpath(base), folder.relative_to(base))
    if os.path.realpath(below) != str(below):
        raise SpecError("InvalidTemplate", f'template.path "{written}" leads through a link')
    if not below.is_dir():
        raise SpecError("InvalidTemplate", f'template.path "{written}": there is no such folder')
    return below


def _walk(folder: Path, name: str) -> Iterator[tuple[str, int, int]]:
    """Path, size and open descriptor of every file, the latter closed after its turn. No link is followed anywhere."""

    def failed(error: OSError) -> None:
        raise error

    for place, folders, files, descriptor in os.fwalk(folder, onerror=failed, follow_symlinks=False):
        below = Path(place).relative_to(folder)
        files = [entry for entry in files if not _EDITORS.fullmatch(entry)]
        for entry in sorted(folders + files):
            path = (below / entry).as_posix()
            if entry == ".git" or not entry.isprintable() or "\\" in entry:
                raise SpecError("InvalidTemplate", f"template {name}: {path!r} cannot stand in a repository")
            if stat.S_ISLNK(os.lstat(entry, dir_fd=descriptor).st_mode):
                raise SpecError("InvalidTemplate", f"template {name}: {path} is a link")
        for entry in sorted(files):
            yield from _opened(entry, (below / entry).as_posix(), descriptor, name)


def _opened(entry: str, path: str, folder: int, name: str) -> Iterator[tuple[str, int, int]]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    if not stat.S_ISREG(os.lstat(entry, dir_fd=folder).st_mode):  # before opening: opening a device may do something
        raise SpecError("InvalidTemplate", f"template {name}: {path} is no regular file")
    descriptor = os.open(entry, flags, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SpecError("InvalidTemplate", f"template {name}: {path} is no regular file")
        yield path, status.st_size, descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int, what: str) -> bytes:
    content = b""
    while len(content) <= MAX_FILE_BYTES and (part := os.read(descriptor, MAX_FILE_BYTES + 1 - len(content))):
        content += part
    if len(content) > MAX_FILE_BYTES:
        raise SpecError("InvalidTemplate", f"{what} has more than {MAX_FILE_BYTES:,} bytes")
    return content
