"""Editing an HAProxy file: what is ours changes, every other byte stays, and a damaged file is not touched."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import TransientError
from reconciler.kinds.cluster.haproxy.regions import words_of
from reconciler.kinds.cluster.haproxy.routes import Configuration, Route
from tests.routes.haproxy_lab import BASE_DOMAIN, REGIONS, file_text

FILE = file_text(Path("/x"), 80, 443).encode()
NAMES = ("dev", "dev-a", "a", "uat", "prod", "dev-b", "x" * 63)


def parsed(content: bytes = FILE) -> Configuration:
    return Configuration.parse(content, "haproxy.cfg")


def route(name: str, last: int = 2) -> Route:
    return Route(name, f"{name}.{BASE_DOMAIN}", f"10.101.0.{last}:30080")


def by_predecessor(name: str) -> bytes:
    """The file with a route as the predecessor's script wrote it."""
    text = FILE.decode()
    for mark, line in (
        ("ACL", f"  acl host_{name}  hdr_reg(host) -i ^[^.]+\\.{name}\\.[^:]+"),
        ("USE_BACKEND", f"  use_backend be_{name} if host_{name}"),
        ("BACKENDS", f"backend be_{name}\n  server s1 10.101.0.9:30080"),
    ):
        begin = re.compile(rf"(# BEGIN DYNAMIC {mark} .*\n)")
        text = begin.sub(lambda found, line=line: f"{found[1]}{line}\n", text)  # type: ignore[misc]  # binds it
    return text.encode()


def counts(configuration: Configuration, name: str) -> tuple[int, int, int]:
    """ACLs, use_backends and backends of exactly this name."""
    lines = [words_of(line)[:2] for line in configuration.lines]
    return (
        lines.count(["acl", f"host_{name}"]),
        lines.count(["use_backend", f"be_{name}"]),
        lines.count(["backend", f"be_{name}"]),
    )


def marks(configuration: Configuration) -> list[str]:
    return [line for line in configuration.lines if " DYNAMIC " in line]


def test_a_route_stands_directly_after_each_beginning() -> None:
    text = parsed().with_route(route("dev")).content.decode()
    pattern = r"^[^.]+\.dev\.192\.168\.51\.30\.sslip\.io(:[0-9]+)?$"
    for before, line in (
        ("# BEGIN DYNAMIC ACL (managed by scripts/haproxy_route.sh)", f"  acl host_dev  hdr_reg(host) -i {pattern}"),
        ("# BEGIN DYNAMIC USE_BACKEND (managed by scripts/haproxy_route.sh)", "  use_backend be_dev if host_dev"),
    ):
        assert text.count(f"{before}\n{line}\n") == 2
    begin = "# BEGIN DYNAMIC BACKENDS (managed by scripts/haproxy_route.sh)"
    assert text.count(f"\n{begin}\nbackend be_dev\n  server s1 10.101.0.2:30080 check\n# END DYNAMIC BACKENDS\n") == 1
    newer = parsed().with_route(route("dev")).with_route(route("uat")).content.decode()
    assert newer.index("acl host_uat") < newer.index("acl host_dev"), "newest first"


def test_case_4_twice_added_is_there_once_and_removed_leaves_no_trace() -> None:
    once = parsed().with_route(route("dev"))
    twice = once.with_route(route("dev"))
    assert twice.content == once.content
    assert counts(twice, "dev") == (2, 2, 1)
    removed = twice.without(["dev"])
    assert counts(removed, "dev") == (0, 0, 0)
    assert removed.content == FILE


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_case_3_marks_survive_random_changes(seed: int, ending: bytes, is_ended: bool) -> None:
    """A hundred of them; what is left in the end is what was added last, and the rest of the file as it was."""
    chance = random.Random(seed)
    content = (FILE if is_ended else FILE.rstrip(b"\n")).replace(b"\n", ending)
    configuration, wanted = parsed(content), dict[str, Route]()
    for _ in range(100):
        name = chance.choice(NAMES)
        if chance.random() < 0.6:
            wanted[name] = route(name, chance.randrange(1, 255))
            configuration = configuration.with_route(wanted[name])
        else:
            wanted.pop(name, None)
            configuration = configuration.without([name])
        assert marks(configuration) == marks(parsed(content))
    assert configuration.names() == sorted(wanted)
    for name in NAMES:
        expected = (2, 2, 1) if name in wanted else (0, 0, 0)
        assert counts(configuration, name) == expected
        assert name not in wanted or configuration.fault_of(wanted[name]) == ""
    assert configuration.without(NAMES).content == content
    assert Configuration.parse(configuration.content, "x").content == configuration.content


def test_what_is_not_a_route_stays_whatever_it_is() -> None:
    odd = FILE.replace(b"  # END DYNAMIC ACL", b"\t# by hand \xff\xfe\n  acl other  path /x \n\n  # END DYNAMIC ACL")
    odd = odd.replace(
        b"# END DYNAMIC BACKENDS", b"# about mine\nbackend mine\n  server s1 1.2.3.4:80\n\n# END DYNAMIC BACKENDS"
    )
    changed = parsed(odd).with_route(route("dev"))
    assert changed.without(["dev"]).content == odd
    assert set(odd.split(b"\n")) <= set(changed.content.split(b"\n"))


def test_defect_k7_the_last_backend_goes_without_the_mark_after_it() -> None:
    configuration = parsed().with_route(route("uat")).with_route(route("dev"))
    for name in ("uat", "dev"):
        configuration = configuration.without([name])
        assert marks(configuration) == marks(parsed())
    assert configuration.content == FILE


def test_defect_k22_names_are_compared_whole() -> None:
    configuration = parsed().with_route(route("dev-a")).with_route(route("dev", 3))
    assert configuration.without(["dev"]).names() == ["dev-a"]
    assert configuration.without(["de"]).content == configuration.content
    assert configuration.backend_of("dev") == "10.101.0.3:30080"
    assert configuration.backend_of("dev-") == ""


@pytest.mark.parametrize(
    ("host", "is_taken"),
    [
        ("whoami.dev.192.168.51.30.sslip.io", True),
        ("WHOAMI.Dev.192.168.51.30.sslip.io:8080", True),
        ("whoami.dev.192.168.51.30.sslip.io.evil.example", False),
        ("whoami.dev.evil.example", False),
        ("whoami.dev.192x168.51.30.sslip.io", False),
        ("a.whoami.dev.192.168.51.30.sslip.io", False),
        ("dev.192.168.51.30.sslip.io", False),
        ("whoami.dev.192.168.51.30.sslip.io:80x", False),
    ],
)
def test_defect_k23_hosts_are_those_of_the_base_domain_only(host: str, is_taken: bool) -> None:
    assert bool(re.search(route("dev").pattern, host, re.IGNORECASE)) is is_taken


def test_what_the_predecessor_wrote_is_replaced_for_who_is_routed_and_left_for_others() -> None:
    there = by_predecessor("dev")
    assert "^[^.]+\\.dev\\.[^:]+" in parsed(there).fault_of(route("dev"))
    assert parsed(there).with_route(route("dev")).content == parsed().with_route(route("dev")).content
    beside = parsed(there).with_route(route("uat"))
    assert beside.without(["uat"]).content == there
    assert counts(beside, "dev") == (2, 2, 1)


def test_the_most_specific_comes_first() -> None:
    """An unanchored line that came before would take the hosts: it is seen, and is not before afterwards."""
    ours = Route("uat", f"dev.{BASE_DOMAIN}", "10.101.0.2:30080")
    there = parsed(by_predecessor("dev")).with_route(ours)
    assert there.fault_of(ours) == ""
    use = b"  use_backend be_dev if host_dev\n"
    first = there.content.replace(use, b"").replace(b"  use_backend be_uat", use + b"  use_backend be_uat")
    shadowed = parsed(first)
    assert "comes first and takes its hosts" in shadowed.fault_of(ours)
    assert shadowed.with_route(ours).fault_of(ours) == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"backend be_default_404", "NameTaken"),
        (b"  acl host_portainer  hdr_reg(host)", "NameTaken"),
    ],
)
def test_names_that_people_use_are_not_taken(line: bytes, reason: str) -> None:
    number = next(index for index, one in enumerate(FILE.split(b"\n"), 1) if one.startswith(line))
    name = line.split()[1].decode().removeprefix("be_").removeprefix("host_")
    with pytest.raises(TransientError) as caught:
        parsed().with_route(route(name))
    assert caught.value.reason == reason
    assert f"haproxy.cfg:{number}: " in caught.value.message


def test_no_two_clusters_have_the_same_hosts() -> None:
    there = parsed().with_route(route("dev"))
    with pytest.raises(TransientError, match=r"haproxy\.cfg:\d+: the hosts of dev\..* are routed to dev already"):
        there.with_route(Route("uat", f"dev.{BASE_DOMAIN}", "10.101.0.3:30080"))


def _without_line(text: str, part: str, which: int = 0) -> str:
    lines = text.split("\n")
    index = [number for number, line in enumerate(lines) if part in line][which]
    return "\n".join(lines[:index] + lines[index + 1 :])


WHOLE = FILE.decode()
DAMAGE = {
    "no end of backends": (_without_line(WHOLE, "END DYNAMIC BACKENDS"), "region BACKENDS", "'# END DYNAMIC BACKENDS'"),
    "no beginning of backends": (
        _without_line(WHOLE, "BEGIN DYNAMIC BACKENDS"),
        "ends here",
        "'# BEGIN DYNAMIC BACKENDS'",
    ),
    "no backends": (
        _without_line(_without_line(WHOLE, "BEGIN DYNAMIC BACKENDS"), "END DYNAMIC BACKENDS"),
        "no region BACKENDS",
        "'# BEGIN DYNAMIC BACKENDS'",
    ),
    "no end of an acl": (_without_line(WHOLE, "END DYNAMIC ACL"), "region ACL in fe_http", "'# END DYNAMIC ACL'"),
    "no beginning of an acl": (_without_line(WHOLE, "BEGIN DYNAMIC ACL", 1), "ends here", "'# BEGIN DYNAMIC ACL'"),
    "no end of a use": (
        _without_line(WHOLE, "END DYNAMIC USE_BACKEND", 1),
        "region USE_BACKEND in fe_https",
        "'# END DYNAMIC USE_BACKEND'",
    ),
    "one frontend without": (
        WHOLE[: WHOLE.index("frontend fe_https")] + WHOLE[WHOLE.index("frontend fe_https") :].replace(REGIONS, "", 1),
        "frontend fe_https has no region ACL",
        "'# BEGIN DYNAMIC ACL'",
    ),
    "one frontend missing": (WHOLE.replace("fe_https", "fe_other"), "expected only in fe_http, fe_https", "fe_other"),
    "twice": (WHOLE.replace(REGIONS, REGIONS * 2, 1), "a second region ACL in fe_http", "the first one is in line"),
    "a frontend twice": (WHOLE.replace("fe_https", "fe_http"), "a second frontend fe_http", "the first one is in line"),
    "a misspelt mark": (WHOLE.replace("END DYNAMIC ACL", "END DYNAMC ACL", 1), "begins here", "'# END DYNAMIC ACL'"),
    "in the backends": (
        WHOLE.replace("# BEGIN DYNAMIC BACKENDS", REGIONS + "# BEGIN DYNAMIC BACKENDS").replace(REGIONS, "", 1),
        "",
        "",
    ),
    "a line after the backends": (
        WHOLE.replace("# END DYNAMIC BACKENDS\n", "# END DYNAMIC BACKENDS\n  timeout server 3s\n"),
        "'timeout' follows the region BACKENDS",
        "expected a line that begins a section",
    ),
    "empty": ("", "no 'frontend fe_http'", ""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_its_line_and_never_guessed(damage: str) -> None:
    text, said, expected = DAMAGE[damage]
    with pytest.raises(TransientError) as caught:
        parsed(text.encode())
    assert caught.value.reason == "DamagedFile"
    found = re.match(r"haproxy\.cfg:(\d+): ", caught.value.message)
    assert found is not None
    assert 1 <= int(found[1]) <= len(text.split("\n"))
    assert said in caught.value.message
    assert expected in caught.value.message
