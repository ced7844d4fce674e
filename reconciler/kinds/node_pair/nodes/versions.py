"""Which of two versions is the later one: dotted numbers, with what people write behind them. Pure; for `checking`.

A whole order for any two texts. 2.0 and 2.0.0 are the same; so are v2.0 and 2.0. Before a version come its
pre-releases (2.0-rc1, 2.0b2, 2.0.dev3, 2.0~x, 2.0-anything), after it what was added to it (2.0-1, 2.0+x, 2.0p1, 2.0a).
"""

from __future__ import annotations

import re

_Part = tuple[int, int, str]
_TILDE, _EARLIER, _END, _LATER, _NUMBER = range(-2, 3)
_PRE_RELEASES = {
    **dict.fromkeys(("dev", "snapshot", "nightly"), 0),
    **dict.fromkeys(("a", "alpha"), 1),
    **dict.fromkeys(("b", "beta"), 2),
    **dict.fromkeys(("m", "milestone"), 3),
    **dict.fromkeys(("pre", "preview"), 5),
    **dict.fromkeys(("c", "rc", "cr"), 6),
}
_ANY_PRE_RELEASE = 4
_RELEASES = ("ga", "final", "release")
_ADDED = ("p", "patch", "post", "r", "rev", "sp", "hotfix")
_EPOCH = re.compile(r"(\d+):(?=.)", re.ASCII)
_NUMBERS = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
_TOKEN = re.compile(r"([~+.:_-]*)(?:(\d+)|([a-z]+))|.", re.ASCII | re.DOTALL)


def compare_versions(a: str, b: str) -> int:
    """Less than 0 when a is earlier than b, 0 when they are the same version, more than 0 when it is later."""
    first, second = _key(a), _key(b)
    return (first > second) - (first < second)


def _key(version: str) -> tuple[int, tuple[int, ...], tuple[_Part, ...]]:
    """Epoch, the numbers at the beginning without the zeros at their end, and what follows."""
    text = version.strip().lower()
    epoch = _EPOCH.match(text)
    rest = text[epoch.end() :] if epoch else text
    rest = rest[1:] if re.match(r"v\d", rest) else rest
    found = _NUMBERS.match(rest)
    numbers = [_number(one) for one in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return _number(epoch[1]) if epoch else 0, tuple(numbers), _parts(rest[found.end() :] if found else rest)


def _parts(text: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    for token in _TOKEN.finditer(text):
        separator, digits, word = token[1] or "", token[2], token[3]
        if ("~" in separator and not word) or token[0] == "~":
            parts.append((_TILDE, 0, ""))
        if digits:
            parts.append((_NUMBER, _number(digits), ""))
        elif word and word not in _RELEASES:
            is_counted = text[token.end() :][:1].isdigit()
            parts.append(_word(word, separator, is_counted))
    return (*parts, (_END, 0, ""))


def _word(word: str, separator: str, is_counted: bool) -> _Part:
    """A word behind a version. separator: what stands before it. is_counted: whether a number follows at once."""
    is_letter_of_its_own = len(word) == 1 and not separator and not is_counted  # as in 1.0.2w
    if word in _PRE_RELEASES and "+" not in separator and not is_letter_of_its_own:
        return (_EARLIER, _PRE_RELEASES[word], "")
    if ("-" in separator or "~" in separator) and word not in _ADDED:
        return (_EARLIER, _ANY_PRE_RELEASE, word)
    return (_LATER, 0, word)


def _number(digits: str) -> int:
    """Any number of digits: Python refuses more than some thousand."""
    return int(digits[:1000])
