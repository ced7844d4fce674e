"""What is taken as a repository, a branch and a folder of it, and what is not."""

from __future__ import annotations

import pytest

from reconciler.errors import UsageError
from reconciler.transports.git_place import GitPlace

GOOD = (
    ("https://git.example.com/a/b.git", "https"),
    ("https://git.example.com:8443/a/b.git/", "https"),
    ("https://robot@git.example.com/a", "https"),
    ("http://[::1]:3000/a.git", "http"),
    ("ssh://git@git.example.com:2222/a/b.git", "ssh"),
    ("ssh://git@git.example.com/~me/b.git", "ssh"),
    ("git@git.example.com:a/b.git", "ssh"),
    ("git.example.com:/srv/b.git", "ssh"),
    ("file:///srv/a b.git", "file"),
    ("/srv/git/a@b.git", "file"),
)
BAD = (
    *("", ".", "a", "./a", "../a", "~/a", "-u", "--upload-pack=touch /tmp/x", "-oProxyCommand=x:y", "file://host/a"),
    *("ext::sh -c id", "ext::sh", "fd::17", "transport::address", "git://host/a", "ftp://host/a", "rsync://host/a"),
    *("ssh://-oProxyCommand=id/a", "ssh://host-/a", "-host:a", "host:-a", "ssh://user@-x/a", "https://-x/a"),
    *("https://host", "https://host/", "https://host//a", "https://host/a/../b", "file:///", "file:///a\nb", "/a\0b"),
    *("https://host/a?x=1", "https://host/a#b", "https://ho st/a", "https://host/$(id)", "https://host/`id`"),
    *("host:a b", "host:$(id)", "host:a;id", "https://hоst/a", "https://host/\u202ea", "https://host/a\x1b[31m"),
    "https://host/" + "a" * 400,
)


@pytest.mark.parametrize(("url", "scheme"), GOOD)
def test_a_plain_address_is_taken_and_can_be_told_from_its_name(url: str, scheme: str) -> None:
    place = GitPlace.checked(url, "release/1.2", "clusters/prod")
    assert place.scheme == scheme
    assert GitPlace.parse(str(place)) == place
    assert place.prefix == f"{place}/"
    assert GitPlace.parse(str(GitPlace.checked(url))).path == ""


@pytest.mark.parametrize("url", BAD, ids=[ascii(url)[:40] for url in BAD])
def test_an_address_that_git_could_run_or_guess_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        GitPlace.checked(url)
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("url", ["https://me:s3cret@host/a", "ssh://me:s3cret@host/a", "foo://:s3cret@host/a"])
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        GitPlace.checked(url)
    assert caught.value.reason == "PasswordInUrl"
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "branch",
    ["", "-x", "--all", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a@{1}", "a@b", "a/", "/a", "a//b", ".a",
     "a/.b", "a.lock", "a.", "a\nb", "a/-b", "$(id)", "x" * 300, "a\\b"],
)  # fmt: skip
def test_a_branch_that_is_an_option_a_pattern_or_an_expression_is_refused(branch: str) -> None:
    with pytest.raises(UsageError):
        GitPlace.checked("https://host/a", branch)


@pytest.mark.parametrize(
    "path", ["..", "../a", "a/../b", "a//b", "-a", "a/-b", ".git", "a/.git", "a\0b", "a\nb", "a\\b", "a" * 300, "./a"]
)
def test_a_folder_that_leaves_the_repository_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        GitPlace.checked("https://host/a", "main", path)


def test_folders_are_named_one_way() -> None:
    assert {GitPlace.checked("https://host/a", "main", path) for path in ("a/b", "/a/b/", "a/b/")} == {
        GitPlace("https://host/a", "main", "a/b")
    }
    assert GitPlace.checked("https://host/a/", path=".") == GitPlace("https://host/a", "main", "")


def test_two_branches_and_two_folders_never_speak_for_each_other() -> None:
    names = [
        GitPlace.checked(url, branch, path).prefix
        for url in ("https://host/a", "https://host/a@main", "https://host/a/b")
        for branch in ("main", "main/2", "mai")
        for path in ("", "x", "x/y", "xy")
    ]
    owned = [(one, other) for one in names for other in names if one != other and other.startswith(one)]
    assert all(GitPlace.parse(one.rstrip("/") if not one.endswith("//") else one).url
               == GitPlace.parse(other.rstrip("/")).url for one, other in owned)  # fmt: skip
    for one, other in owned:  # only a folder speaks for the folders in it
        assert one.rpartition("//")[0] == other.rpartition("//")[0]


@pytest.mark.parametrize("name", ["git:https://host/a", "git:https://host/a@main", "https://host/a@main//", "git:"])
def test_what_is_no_name_of_a_place_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        GitPlace.parse(name)
