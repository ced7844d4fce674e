"""Putting a set of files in place on a node: wholly, or not at all. Called by `configuration`.

    PAIR/replacing/body      what came through stdin: the entries, then the contents
    PAIR/replacing/plan      what is going to be done, each line written before the file that it speaks of
    PAIR/replacing/commit    made once every file is staged, read back and on the disk

A file is staged as `.reconciler-new-PAIR-N` in the folder that it is for. Whoever finds `replacing/` with the marker
renames what is still to be renamed; without it, removes what was staged. Each of our scripts begins with that, so a
set that was interrupted is wholly new or wholly old again before anything else is done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.kinds.node_pair.nodes.sums import NEW, SUM_OF

EntryKind = Literal["content", "copy", "restore", "remove", "folder", "unfolder"]
_PLAIN = re.compile(rb"[A-Za-z0-9._/=+@,:-]")


@dataclass(frozen=True, slots=True)
class NewEntry:
    """One path of a set.

    content: `content` becomes the file's; copy: what is in `source` on the node does, and the file keeps its mode and
    owner; restore: `source` itself with mode and owner; remove; folder: made when it is missing, and given mode and
    owner; unfolder: removed when it is empty. sum: what has to be there in the end.
    """

    kind: EntryKind
    path: str
    sum: str = "-"
    mode: str = "-"
    owner: str = "-"
    source: str = "-"
    content: bytes = b""


def packed(new: Sequence[NewEntry]) -> tuple[int, str]:
    """The entries for stdin of `REPLACE`: how many bytes their list has, and all of it."""
    lines, contents, offset = [], [], 0
    for one in new:
        source, path = coded(one.source), coded(one.path)
        lines.append(f"{one.kind} {one.sum} {one.mode} {one.owner} {offset} {len(one.content)} {source} {path}\n")
        contents.append(one.content)
        offset += len(one.content)
    head = "".join(lines)
    return len(head), head + b"".join(contents).decode("utf-8", "surrogateescape")


def coded(path: str) -> str:
    """A path as one word for `printf %b`."""
    raw = path.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if _PLAIN.match(bytes([byte])) else f"\\0{byte:03o}" for byte in raw)


RECOVER = rf"""{SUM_OF}set=$pair/replacing
decoded() {{
  path=$1
  case $1 in *\\*) path=$(printf '%b.' "$1"); path=${{path%.}} ;; esac
}}
staged_as() {{
  folder=${{path%/*}} left=$2
  while test "$left" -gt 0; do folder=${{folder%/*}} left=$((left - 1)); done
  staged=$folder/{NEW}$name-$1
}}
forward() {{
  while read -r what a b c word <&3; do
    decoded "$word"
    case $what in
    mkdir) {{ test -d "$path" || mkdir -m 700 "$path"; }} && chown "$b" "$path" &&
      chmod ug-s "$path" && chmod "$a" "$path" ;;
    mv) staged_as "$a" "$b"; if test -e "$staged" || test -L "$staged"; then mv -f -T "$staged" "$path"; fi ;;
    rm) rm -f "$path" ;;
    rmdir) rmdir "$path" 2>/dev/null || : ;;
    esac || refuse Unfinished "$path could not be put in place; the others are. Once it can be, run this again"
    printf '%s\0' "${{path%/*}}/" >&4
  done 3<"$set/plan" 4>"$set/touched"
  sort -z -u "$set/touched" | xargs -0 -r sync 2>/dev/null || sync
}}
recover() {{
  test -d "$set" || return 0
  if test -f "$set/commit"; then forward
  elif test -f "$set/plan"; then
    while read -r what a b c word <&3; do
      decoded "$word"
      staged_as "$a" "$b"
      test "$what" != mv || rm -f "$staged"
    done 3<"$set/plan"
  fi
  rm -rf "$set"
}}
"""
"""`recover` ends what was interrupted: forward when it was committed, else back."""
REPLACE = rf"""{RECOVER}line='
'
mounts=$line$(cut -d ' ' -f 5 /proc/self/mountinfo 2>/dev/null)$line
checked=
mutable() {{
  flags=$(lsattr -d "$1" 2>/dev/null) || return 0
  case ${{flags%% *}} in *[ia]*) refuse Locked "$1 is immutable or append-only: chattr -ia it first" ;; esac
}}
fits() {{
  test -d "$path" && ! test -L "$path" && refuse IsFolder "$path is a folder"
  case $mounts in *"$line$path$line"*) refuse IsMount "$path is a mount of its own and cannot be replaced" ;; esac
  if test -e "$path"; then mutable "$path"; fi
  test "$checked" = "${{path%/*}}/" || mutable "${{path%/*}}/"
  checked=${{path%/*}}/
}}
planned() {{
  printf '%s %s %s %s %s\n' "$@" >>"$set/plan" || refuse NotStaged "the plan could not be written"
}}
stands() {{
  folder=${{path%/*}} word=$coded ups=0 missing=
  while ! test -d "${{folder:-/}}"; do
    test -e "$folder" || test -L "$folder" && refuse NoFolder "$folder is no folder"
    word=${{word%/*}} folder=${{folder%/*}} ups=$((ups + 1))
    case $folders in *"$line$word$line"*) continue ;; esac
    folders=$folders$word$line
    missing="mkdir 755 0:0 - $word
$missing"
  done
  test -z "$missing" || printf %s "$missing" >>"$set/plan"
}}
as_before() {{
  test ! -e "$path" || cp -a "$path" "$staged"
}}
put() {{
  case $kind in
  content | copy)
    if test -L "$path"; then refuse SymbolicLink "$path is a symbolic link: name the file that it points to"; fi
    as_before ;;
  esac || return
  case $kind in
  content) head -c $((head + from + size)) "$set/body" | tail -c "$size" >"$staged" ;;
  copy) cat "$source" >"$staged" ;;
  restore)
    cp -a "$source" "$staged" && chown -h "$owner" "$staged" &&
      {{ test -L "$staged" || chmod "$mode" "$staged"; }} ;;
  esac
}}
is_there() {{
  sum_of "$path"
  test "$sum" = "$want" || return
  test "$kind" != restore || test "$(stat -c '%a %u:%g' "$path")" = "$mode $owner"
}}
stage() {{
  number=0 folders=$line
  while read -r kind want mode owner from size source coded <&3; do
    number=$((number + 1))
    decoded "$source"
    source=$path
    decoded "$coded"
    case $kind in
    folder)
      if test -e "$path" && ! test -d "$path"; then refuse NoFolder "$path is no folder any more"; fi
      folders=$folders$coded$line
      planned mkdir "$mode" "$owner" - "$coded"
      continue ;;
    unfolder) planned rmdir - - - "$coded"; continue ;;
    remove) test -e "$path" || test -L "$path" || continue; fits; planned rm - - - "$coded"; continue ;;
    copy) test -f "$source" || refuse NoSuchFile "there is no file $source to copy to $path"
      want=$(sha256sum <"$source") && want=${{want%% *}} || exit 1 ;;
    esac
    is_there && continue
    fits
    stands
    staged_as "$number" "$ups"
    planned mv "$number" "$ups" "$want" "$coded"
    if test -e "$staged" || test -L "$staged"; then rm -f "$staged"; fi
    put || refuse NotStaged "$path could not be staged"
    sum_of "$staged"
    test "$sum" = "$want" || refuse NotStaged "what was staged for $path is not what it should be"
    printf '%s\0' "$staged" >>"$set/staged"
  done 3<"$set/entries"
}}
commit() {{
  test -s "$set/plan" || return 0
  if test -f "$set/staged"; then xargs -0 -r sync <"$set/staged" 2>/dev/null || sync; fi
  sync "$set/plan" 2>/dev/null || sync
  echo done >"$set/commit.new" && mv "$set/commit.new" "$set/commit" && sync "$set" || exit 1
  forward
  while read -r what a b c word <&3; do
    decoded "$word"
    case $what in
    mv) sum_of "$path"; test "$sum" = "$c" ;;
    rm) test ! -e "$path" && test ! -L "$path" ;;
    esac || refuse NotWritten "$path is not what was written there: something else writes it too"
  done 3<"$set/plan"
}}
replace() {{
  head=$1
  shift
  find "$@" -name "{NEW}$name-*" -exec rm -f {{}} + 2>/dev/null
  trap 'test -f "$set/commit" || recover' EXIT
  mkdir "$set" && cat >"$set/body" && head -c "$head" "$set/body" >"$set/entries" || exit 1
  test "$(wc -c <"$set/entries")" -eq "$head" || refuse NotStaged "not all of it arrived"
  : >"$set/plan"
  stage
  commit
  rm -rf "$set"
  trap - EXIT
}}
"""
"""`replace LENGTH PATH...` puts the set from stdin in place, of which the first LENGTH bytes are its list."""
