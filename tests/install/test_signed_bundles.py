"""A bundle is taken if it is whole and, on a server that trusts keys, if one of them signed it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.bundle import sign
from tests.install.preflight_machine import check, make_checkout, write_sums

TRUST = "mkdir -p /opt/ikoma/trusted && cp {} /opt/ikoma/trusted/"
IN_THE_WAY = "\n\n✗ 1 thing(s) in the way; nothing was changed.\n"
FINE = "✓ Nothing is in the way\n"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """One that nobody signed."""
    folder = make_checkout(tmp_path / "ikoma-1", "0.1.0")
    write_sums(folder)
    return folder


def make_key(folder: Path, name: str) -> Path:
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)
    return key


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path, "release")


def look(bundle: Path, prepare: str = ":") -> tuple[int, str]:
    place = bundle.parent / f"look-{len(list(bundle.parent.iterdir()))}"
    place.mkdir()
    return check(place, {}, prepare=prepare, install=bundle / "install.sh")


def test_an_unsigned_one_is_taken_where_no_key_is_trusted_and_it_is_said(bundle: Path, key: Path) -> None:
    files = len((bundle / "SHA256SUMS").read_text().splitlines())
    whole = f"• The bundle is whole: {files} files by their checksums. Nobody signed it."
    assert look(bundle) == (0, f"{whole}\n{FINE}")
    code, said = look(bundle, TRUST.format(f"{key}.pub"))
    assert (code, said.endswith(IN_THE_WAY)) == (1, True), said
    assert "✗ Nobody signed this bundle, and this server has keys in /opt/ikoma/trusted." in said


def test_a_signed_one_is_taken_where_its_key_is_trusted_and_the_key_is_named(bundle: Path, key: Path) -> None:
    sign(bundle / "SHA256SUMS", key)
    print_of_key = subprocess.check_output(["ssh-keygen", "-lf", f"{key}.pub"], text=True).split()[1]
    other = make_key(bundle.parent, "other key")
    code, said = look(bundle, TRUST.format(f"'{other}.pub' {key}.pub"))
    assert (code, f"It is signed by /opt/ikoma/trusted/release.pub, {print_of_key}." in said) == (0, True), said
    code, said = look(bundle)
    assert (code, f"signed by a key that this server does not know, {print_of_key}:" in said) == (0, True), said
    code, said = look(bundle, TRUST.format(f"'{other}.pub'"))
    assert (code, f"✗ This bundle is signed by {print_of_key}, which is none of the keys" in said) == (1, True), said
    code, said = look(bundle, "mkdir -p /opt/ikoma/trusted && echo nonsense >/opt/ikoma/trusted/release.pub")
    assert (code, "which is none of the keys" in said) == (1, True), "a file that holds no key closes the door"


def test_a_signature_by_the_same_key_is_the_same_each_time(bundle: Path, key: Path) -> None:
    sign(bundle / "SHA256SUMS", key)
    first = (bundle / "SHA256SUMS.sig").read_bytes()
    (bundle / "SHA256SUMS.sig").unlink()
    sign(bundle / "SHA256SUMS", key)
    assert (bundle / "SHA256SUMS.sig").read_bytes() == first


@pytest.mark.parametrize("trusts", [True, False], ids=["its key is trusted", "no key is trusted"])
def test_a_wrong_signature_is_never_taken(bundle: Path, key: Path, trusts: bool) -> None:
    sign(bundle / "SHA256SUMS", key)
    (bundle / "README.md").write_text("changed, and the list with it\n")
    write_sums(bundle)
    code, said = look(bundle, TRUST.format(f"{key}.pub") if trusts else ":")
    assert (code, "✗ The signature of this bundle is wrong." in said) == (1, True), said


def test_a_signature_that_was_made_for_something_else_is_none(bundle: Path, key: Path) -> None:
    sums = bundle / "SHA256SUMS"
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "git", sums], check=True, capture_output=True)
    code, said = look(bundle, TRUST.format(f"{key}.pub"))
    assert (code, "✗ The signature of this bundle is wrong." in said) == (1, True), said


def test_without_the_program_that_reads_signatures_it_is_said_or_refused(bundle: Path, key: Path) -> None:
    sign(bundle / "SHA256SUMS", key)
    over = f"mkdir {bundle.parent}/$$ {bundle.parent}/$$.work && mount -t overlay overlay /usr/bin -o lowerdir=/usr/bin"
    without = f"{over},upperdir={bundle.parent}/$$,workdir={bundle.parent}/$$.work && rm /usr/bin/ssh-keygen"
    code, said = look(bundle, without)
    assert (code, "by whom was not looked at: ssh-keygen is missing." in said) == (0, True), said
    code, said = look(bundle, f"{without}; {TRUST.format(f'{key}.pub')}")
    assert (code, "  → apt-get install openssh-client" in said) == (1, True), said


def test_one_that_is_cut_or_has_more_than_its_list_is_in_the_way(bundle: Path) -> None:
    (bundle / "README.md").write_text("cut")
    code, said = look(bundle)
    assert (code, "✗ This bundle is not whole: README.md: FAILED." in said) == (1, True), said
    write_sums(bundle)
    (bundle / "src" / "more.py").symlink_to("/etc/passwd")
    code, said = look(bundle)
    assert (code, "✗ This bundle is not whole: src/more.py: not in SHA256SUMS." in said) == (1, True), said
    (bundle / "src" / "more.py").unlink()
    (bundle / "SHA256SUMS").write_text("nothing that sha256sum would look at\n")
    code, said = look(bundle)
    assert (code, "✗ This bundle is not whole: LICENSE: not in SHA256SUMS," in said) == (1, True), said


def test_a_checkout_is_in_the_way_where_keys_are_trusted(bundle: Path, key: Path) -> None:
    (bundle / "SHA256SUMS").unlink()
    assert look(bundle) == (0, FINE)
    code, said = look(bundle, TRUST.format(f"{key}.pub"))
    assert (code, "is no bundle, and this server takes signed bundles alone" in said) == (1, True), said
