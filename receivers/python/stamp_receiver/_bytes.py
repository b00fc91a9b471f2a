"""Texts that stand for bytes: base64url and nkeys."""

import base64
import binascii
from typing import Optional

_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_SEED = 18 << 3
_PREFIXES = {"N": 13 << 3, "X": 23 << 3}
_FIELD_PRIME = 2**255 - 19
#: y of the points of Ed25519 of small order: order 4, 1, 2, and twice 8.
_SMALL_ORDERS = {
    0, 1, _FIELD_PRIME - 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
}  # fmt: skip


def utf8(text: str) -> bytes:
    """The text in UTF-8. Two texts never have the same bytes: a lone surrogate gets bytes of its own, which are in no UTF-8."""
    return text.encode("utf-8", "surrogatepass")


def to_base64(data: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64(text: str) -> Optional[bytes]:
    """The bytes of which text is exactly the base64url, or None."""
    if not _BASE64.issuperset(text) or len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return data if to_base64(data) == text else None


def public_key(kind: str, text: str) -> bytes:
    """The 32 bytes of a public key: kind is N, a server's Ed25519 key, or X, an X25519 key."""
    data = _decode(text)
    if data is None or len(data) != 33 or data[0] != _PREFIXES[kind]:
        raise ValueError(f"expected a public key that begins with {kind}")
    if kind == "N" and _is_weak(data[1:]):
        raise ValueError("expected a public key that is canonically encoded and not of small order: anybody could sign for it")
    return data[1:]


def _is_weak(key: bytes) -> bool:
    """Whether a key for Ed25519 is of small order, or not the canonical encoding of a point.

    Libraries do not agree on these, and no server has one.
    """
    y = int.from_bytes(key, "little") & (1 << 255) - 1  # without the sign of x
    return y >= _FIELD_PRIME or y in _SMALL_ORDERS


def seed(kind: str, text: str) -> bytes:
    """The 32 bytes of a seed. The error does not hold the text, which may be secret."""
    data = _decode(text)
    # Five bits for S, eight for the kind, three that are zero.
    prefix = (_SEED << 8 | _PREFIXES[kind] << 3).to_bytes(2, "big")
    if data is None or len(data) != 34 or data[:2] != prefix:
        raise ValueError(f"expected a seed that begins with S{kind}")
    return data[2:]


def encode(kind: str, data: bytes) -> str:
    """The text of 32 bytes: kind is N or X for a public key, SN or SX for a seed."""
    prefix = _PREFIXES[kind[-1]]
    head = bytes([prefix]) if len(kind) == 1 else (_SEED << 8 | prefix << 3).to_bytes(2, "big")
    body = head + data
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode("ascii").rstrip("=")


def _decode(text: str) -> Optional[bytes]:
    """The bytes without the checksum, or None where the text is no key."""
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        return None
    if len(data) < 3 or base64.b32encode(data).decode("ascii").rstrip("=") != text:
        return None
    body, checksum = data[:-2], data[-2:]
    return body if binascii.crc_hqx(body, 0).to_bytes(2, "little") == checksum else None
