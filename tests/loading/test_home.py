"""The home and its key are ours alone, and made whole or not at all."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.loading.settings import Settings, digest_key, ensure_home


def test_the_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = ensure_home(Settings(home=tmp_path / "a" / "home"))

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert ensure_home(Settings(home=home)) == home


def test_a_home_that_others_can_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)

    ensure_home(Settings(home=tmp_path / "home"))

    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_home_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(mode)

    with pytest.raises(UsageError, match="can be written by group or others"):
        ensure_home(Settings(home=tmp_path / "home"))


def test_a_home_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="cannot be made"):
        ensure_home(Settings(home=tmp_path / "file" / "home"))


def test_the_digest_key_is_made_once_for_everybody(tmp_path: Path) -> None:
    home = ensure_home(Settings(home=tmp_path / "home"))
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: digest_key(home), range(64)))

    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert stat.S_IMODE((home / "digest.key").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["digest.key"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_digest_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "digest.key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(UsageError, match="is damaged"):
        digest_key(tmp_path)
    assert path.read_bytes() == content


def test_a_digest_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    digest_key(tmp_path)
    (tmp_path / "digest.key").chmod(0o644)

    with pytest.raises(UsageError, match="can be read by others"):
        digest_key(tmp_path)


def test_a_digest_key_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x" * 32)
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / "digest.key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError):
        digest_key(tmp_path)


def test_a_digest_key_without_a_home_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        digest_key(tmp_path / "nowhere")
