"""The bytes of a proof, and of the fields that it proves."""

from dataclasses import dataclass, field
from typing import Callable, List, Optional, Tuple

from ._bytes import from_base64, to_base64, utf8
from ._errors import Anonymous

PROVENANCE = ("Stamp-Account", "Stamp-Subject", "Stamp-Time")
PROOF, FORWARDED = "Stamp-Proof", "Stamp-Forwarded-Proof"
LABEL = b"stamp proof v1"
_MAX_TEXT, _MAX_LENGTH = 4096, 3072  # characters, and the bytes that they stand for


@dataclass
class Proof:
    """What the bytes of a proof say."""

    data: bytes
    entries: List[Tuple[int, bool]]  # 23 bits of the name, and whether the values are encrypted
    # Of kinds 1 and 3, which are for a receiver.
    server: Optional[bytes] = None  # id of the server's key
    receiver: Optional[bytes] = None
    salt: bytes = b""
    counter: bytes = b""
    tag: bytes = b""
    # Of kinds 2 and 3, which are signed.
    signer: Optional[bytes] = None  # id of the server's key
    signature: bytes = b""

    @property
    def before_tag(self) -> bytes:
        return self.data[: len(self.data) - len(self.signature) - len(self.tag)]

    @property
    def before_signature(self) -> bytes:
        return self.data[: len(self.data) - len(self.signature)]


@dataclass
class Field:
    """What is proven of one header."""

    name: str
    values: List[bytes]  # UTF-8, as in the message
    encrypted: bool
    ciphertexts: List[bytes] = field(default_factory=list)


def parse_text(text: str) -> Proof:
    """Reads the value of Stamp-Proof."""
    # The kind and the length are looked at before all of a text is decoded, which may be long.
    first = from_base64(text[:4])
    if not first:
        raise Anonymous("proof-malformed")
    if first[0] not in (1, 2, 3):
        raise Anonymous("proof-version")
    data = None if len(text) > _MAX_TEXT else from_base64(text)
    if data is None:
        raise Anonymous("proof-malformed")
    return parse(data)


def parse(data: bytes) -> Proof:
    if not data:
        raise Anonymous("proof-malformed")
    kind = data[0]
    if kind not in (1, 2, 3):
        raise Anonymous("proof-version")
    if len(data) > _MAX_LENGTH:
        raise Anonymous("proof-malformed")
    exchanges, signs = kind != 2, kind != 1
    head = 1 + (24 if exchanges else 0) + (2 if signs else 0)
    end = len(data) - (16 if exchanges else 0) - (64 if signs else 0)
    if end < head or (end - head) % 3 != 0:
        raise Anonymous("proof-malformed")
    proof = Proof(data, [])
    if exchanges:
        proof.server, proof.receiver, proof.salt, proof.counter = data[1:3], data[3:5], data[5:21], data[21:25]
        proof.tag = data[end : end + 16]
    if signs:
        proof.signer, proof.signature = data[head - 2 : head], data[-64:]
    for at in range(head, end, 3):
        value = int.from_bytes(data[at : at + 3], "big")
        if value >= 0x800000 and not exchanges:
            raise Anonymous("proof-malformed")
        proof.entries.append((value & 0x7FFFFF, value >= 0x800000))
    return proof


def text_of(fields: List[Field]) -> bytes:
    """F_text of docs/proofs.md."""
    parts = []
    for one in fields:
        parts.append(_head(one))
        for value in one.values:
            parts += [len(value).to_bytes(4, "big"), value]
    return b"".join(parts)


def mac_text_of(fields: List[Field]) -> bytes:
    """F_mac of docs/proofs.md."""
    parts = []
    for one in fields:
        if not one.encrypted:
            parts.append(text_of([one]))
            continue
        parts.append(_head(one))
        parts += [(0x80000000 | len(ciphertext)).to_bytes(4, "big") for ciphertext in one.ciphertexts]
    return b"".join(parts)


def _head(one: Field) -> bytes:
    name = utf8(one.name)
    return len(name).to_bytes(2, "big") + name + len(one.values).to_bytes(2, "big")


@dataclass
class Forwarded:
    """A forwarded proof without its proof: what stands for the payload, and the headers that are proven."""

    payload_tag: bytes  # empty in kind 2
    payload_hash: bytes  # empty in kind 1
    headers: List[Tuple[str, str]]
    text: bytes  # F_text, of which they are


def parse_forwarded(text: str) -> Tuple[Proof, Callable[[], Forwarded]]:
    """Reads a forwarded proof up to its proof. The function reads the rest, which can be much."""
    data = from_base64(text)
    if not data:
        raise Anonymous("proof-malformed")
    if data[0] != 1:
        raise Anonymous("proof-version")
    reader = _Reader(data, 1)
    proof = parse(reader.take(reader.number(2)))
    return proof, lambda: _rest_of(proof, reader)


def _rest_of(proof: Proof, reader: "_Reader") -> Forwarded:
    payload_tag = reader.take(16 if proof.tag else 0)
    payload_hash = reader.take(32 if proof.signature else 0)
    rest = reader.rest
    headers = []
    while not reader.ended:
        name, values = reader.text(reader.number(2)), reader.number(2)
        if values == 0:
            raise Anonymous("proof-malformed")
        headers += [(name, reader.text(reader.number(4))) for _ in range(values)]
    return Forwarded(payload_tag, payload_hash, headers, rest)


def forwarded_text(proof: Proof, payload_tag: bytes, payload_hash: bytes, fields: List[Field]) -> str:
    size = len(proof.data).to_bytes(2, "big")
    return to_base64(b"\x01" + size + proof.data + payload_tag + payload_hash + text_of(fields))


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = memoryview(data), at

    @property
    def ended(self) -> bool:
        return self._at == len(self._data)

    @property
    def rest(self) -> bytes:
        return bytes(self._data[self._at :])

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise Anonymous("proof-malformed")
        self._at += size
        return bytes(self._data[self._at - size : self._at])

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise Anonymous("proof-malformed") from None
