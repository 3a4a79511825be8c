"""The SSHSIG form: wrapped as ssh-keygen wraps it, taken apart without trust."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.signing.signature import SignatureFormatError, armor, parse_signature, signed_data

BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def wrapped(blob: bytes) -> str:
    return f"{BEGIN}\n{base64.b64encode(blob).decode()}\n{END}\n"


def test_a_signature_comes_back_as_it_was() -> None:
    text = armor(b"key" * 20, b"signature" * 9, "name@space")
    assert all(len(line) <= 70 for line in text.splitlines())
    signature = parse_signature(text)
    assert (signature.public_key, signature.signature) == (b"key" * 20, b"signature" * 9)
    assert (signature.namespace, signature.hash_algorithm) == ("name@space", "sha512")


def test_what_is_signed_depends_on_message_and_namespace() -> None:
    assert signed_data(b"a", "n") != signed_data(b"b", "n")
    assert signed_data(b"a", "n") != signed_data(b"a", "m")
    assert signed_data(b"a", "n").startswith(b"SSHSIG\x00\x00\x00\x01n\x00\x00\x00\x00\x00\x00\x00\x06sha512")


@pytest.mark.parametrize(
    "text",
    [
        "",
        BEGIN,
        END,
        "-----BEGIN SSH SIGNATURE-----END SSH SIGNATURE-----",
        f"{BEGIN}\n{END}",
        f"{BEGIN}\n!!!\n{END}",
        f"{BEGIN}\nÄÄÄÄ\n{END}",
        f"{BEGIN}\n{'A' * 20_000}\n{END}",
        wrapped(b"SSHSIG"),
        wrapped(b"SSHSIG\0\0\0\2"),
        wrapped(b"SSHSIG\0\0\0\1"),
        wrapped(b"SSHSIG\0\0\0\1" + b"\0" * 24),
        wrapped(b"SSHSIG\0\0\0\1" + struct.pack(">I", 2**32 - 1)),
        wrapped(b"SSHSIG\0\0\0\1" + struct.pack(">I", 1) + b"a\0"),
        wrapped(b"SSHSIG\0\0\0\1" + b"\0\0\0\1\xff" * 5),
    ],
)
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(SignatureFormatError):
        parse_signature(text)


@given(st.text() | st.binary(max_size=200).map(wrapped))
def test_arbitrary_text_raises_nothing_but_ours(text: str) -> None:
    with pytest.raises(SignatureFormatError):
        parse_signature(text)


@given(st.binary(max_size=200).map(lambda tail: wrapped(b"SSHSIG\0\0\0\1" + tail)))
def test_an_arbitrary_body_raises_nothing_but_ours(text: str) -> None:
    try:
        parse_signature(text)
    except SignatureFormatError:
        return
