"""Checksums of files on a node: walking, and bringing the answer home whole whatever the files are called.

Called by `configuration` and `syncing`. Contents stay on the node. What a script has to tell is a list of records ended
by NUL, packed (gzip, base64): names may hold anything, and an answer that was cut is an error, never a shorter list.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import shlex
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from reconciler.errors import TerminalError
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.pair_folder import check, run_script
from reconciler.transports.process import Completed

Kind = Literal["file", "link", "folder"]
NEW = ".reconciler-new-"
"""How the names of files begin that are about to take another one's place. They belong to no configuration."""
_KINDS: Mapping[str, Kind] = {"f": "file", "l": "link", "d": "folder"}
_END = b"end"

SUM_OF = """sum_of() {
  if test -L "$1"; then sum=$({ printf link: && readlink -n "$1"; } | sha256sum)
  elif test -f "$1"; then sum=$(sha256sum <"$1")
  else sum=none
  fi || return
  sum=${sum%% *}
}
"""
"""Puts the SHA-256 of a file, or of `link:` and the target of a symbolic link, into $sum; `none` where neither is."""
_DESCRIBE = r"""all=$1
shift
for path; do
  if test -L "$path"; then kind=l
  elif test -f "$path"; then kind=f
  elif test -d "$path"; then kind=d
  else continue
  fi
  sum=- had="- -"
  if test $kind = d; then test "$all" = all || continue; else sum_of "$path"; fi &&
    { test "$all" != all || had=$(stat -c "%a %u:%g" "$path"); } || {
    test -e "$path" || test -L "$path" || continue
    exit 1
  }
  test "$sum" = none || printf "%s %s %s %s\0" $kind "$sum" "$had" "$path"
done
"""
_LINKS = r"""for path; do
  sum_of "$path" && printf "l %s - - %s\0" "$sum" "$path" || exit
done
"""
FIND = rf"""race=
find /dev/null -ignore_readdir_race >/dev/null 2>&1 && race=-ignore_readdir_race
absent() {{
  test -e "$1" || test -L "$1" || case $(stat "$1" 2>&1 >/dev/null) in
  *": No such file or directory" | *": Not a directory") return 0 ;;
  "") ;;
  *) refuse Unreadable "$1 cannot be looked at: $(stat "$1" 2>&1)" ;;
  esac
  return 1
}}
below() {{
  root=$1
  shift
  find "$root" $race ! -name '{NEW}*' "$@"
}}
"""
"""`below PATH TESTS` is `find` without the files of ours; `absent PATH` fails for what is there, or cannot be seen."""
WALK = rf"""{SUM_OF}{FIND}describe={shlex.quote(SUM_OF + _DESCRIBE)}
links={shlex.quote(SUM_OF + _LINKS)}
many=no
sha256sum -z /dev/null >/dev/null 2>&1 && stat --printf= / 2>/dev/null && many=yes
many_at_once() {{
  test $many = yes || return
  below "$2" -type f -exec sha256sum -z {{}} + && below "$2" -type l -exec sh -c "$links" sh {{}} + || return
  test "$1" = all || return 0
  below "$2" -type d -exec stat --printf='d - %a %u:%g %n\0' {{}} + &&
    below "$2" \( -type f -o -type l \) -exec stat --printf='m - %a %u:%g %n\0' {{}} +
}}
walk() {{
  what=$1
  shift
  for root; do
    absent "$root" || many_at_once "$what" "$root" 2>/dev/null ||
      below "$root" \( -type f -o -type l -o -type d \) -exec sh -c "$describe" sh "$what" {{}} + ||
      refuse Unreadable "$root cannot be read through"
  done
  printf 'end\0'
}}
"""
"""`walk all|files PATH...` tells of everything that is there below the paths; `all`: folders and modes too.

Tools that can be told of many files at once are; where they cannot, or where one of the files is gone meanwhile, each
file is asked for by itself.
"""
PACK = "gzip -c | base64"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path. sum: 64 hexadecimal digits, "-" of a folder. mode: octal; owner: uid:gid; "-" if not asked."""

    kind: Kind
    sum: str
    mode: str
    owner: str
    path: str


def sums_below(node: Node, pair: str, paths: Iterable[str]) -> dict[str, str]:
    """Every file and symbolic link below the paths, by absolute path, with its sum. Nothing for what is missing.

    A symbolic link is not followed: its sum is that of `link:` and its target. Raises TerminalError("Unreadable") too.
    """
    done = run_script(node, f'{WALK}walk files "$@" | {PACK}', [pair, *roots(paths)])
    return sums_of(answer(done, node))


def answer(done: Completed, node: Node) -> list[Entry]:
    """The entries that a script told of, all of them. Raises TerminalError."""
    return entries(records(done, node))


def records(done: Completed, node: Node) -> list[bytes]:
    """The records that a script told of, without the last, which says that these are all. Raises TerminalError."""
    check(done, node)
    try:
        told = gzip.decompress(base64.b64decode("".join(done.stdout.split()), validate=True)).split(b"\0")
    except (binascii.Error, zlib.error, OSError, EOFError) as error:
        message = f"{node.role} ({node.address}): the answer did not arrive whole: too many files?"
        raise TerminalError("NotUnderstood", message) from error
    if told[-2:] != [_END, b""]:
        raise TerminalError("NotUnderstood", f"{node.role} ({node.address}): {done.last_lines(3) or 'no whole answer'}")
    return told[:-2]


def entries(told: Iterable[bytes]) -> list[Entry]:
    """Records as entries. One of `sha256sum` itself is of a file; one of kind m has the mode of another."""
    found: dict[str, Entry] = {}
    for record in told:
        text = record.decode("utf-8", "surrogateescape")
        if text[64:66] == "  ":
            found[text[66:]] = Entry("file", text[:64], "-", "-", text[66:])
            continue
        kind, total, mode, owner, path = text.split(" ", 4)
        if kind != "m":
            found[path] = Entry(_KINDS[kind], total, mode, owner, path)
        elif path in found:
            found[path] = replace(found[path], mode=mode, owner=owner)
    return list(found.values())


def sums_of(found: Iterable[Entry]) -> dict[str, str]:
    """The sums of files and links by path."""
    return {entry.path: entry.sum for entry in found if entry.kind != "folder"}


def roots(paths: Iterable[str]) -> Sequence[str]:
    """The paths in their plain form, without those that lie below another one."""
    plain = sorted({PurePosixPath("/" + path.strip("/")) for path in paths})
    return [str(path) for path in plain if not any(path != other and path.is_relative_to(other) for other in plain)]


def digest(sums: Mapping[str, str]) -> str:
    """One sum over all: 64 hexadecimal digits, equal for equal files at equal paths and else different."""
    over = hashlib.sha256()
    for path in sorted(sums):
        over.update(f"{sums[path]} {path}\0".encode("utf-8", "surrogateescape"))
    return over.hexdigest()
