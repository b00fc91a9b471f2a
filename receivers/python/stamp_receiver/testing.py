"""Stamps messages as a server with proofs does, for tests of services that receive them."""

import datetime
import hashlib
import os
import threading
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ._bytes import encode, public_key, seed, to_base64
from ._names import entry_of, fold
from ._proof import LABEL, PROOF, PROVENANCE, Field, mac_text_of, text_of
from ._trust import derive, key_id, raw

Line = Tuple[str, str]


class Server:
    """A server with keys of its own, and of one receiver.

    server = Server()
    trust = Trust("X-User", accounts={"APP": ["orders.>"]}, servers=server.servers, keys=server.keys)
    headers = server.stamp({"X-User": ["alice"]}, "orders.new", b"{}")
    """

    def __init__(self, account: str = "APP", encrypt: Sequence[str] = (), sign: bool = False) -> None:
        self._account, self._encrypt, self._sign = account, encrypt, sign
        self._curve_seed, self._sign_seed, own = os.urandom(32), os.urandom(32), os.urandom(32)
        #: What a server with these keys has in receivers, and in its key file.
        self.receiver: str = encode("X", raw(X25519PrivateKey.from_private_bytes(own).public_key()))
        self.seeds: List[str] = [encode("SX", self._curve_seed), encode("SN", self._sign_seed)]
        self._salt, self._counter, self._lock = os.urandom(16), 0, threading.Lock()
        curve = X25519PrivateKey.from_private_bytes(self._curve_seed).public_key()
        signing = Ed25519PrivateKey.from_private_bytes(self._sign_seed).public_key()
        #: What a trust has in servers and in keys.
        self.servers: List[str] = [encode("X", raw(curve)), encode("N", raw(signing))]
        self.keys: List[str] = [encode("SX", own)]

    def stamp(self, headers: Mapping[str, Sequence[str]], subject: str, payload: bytes = b"", time: Optional[datetime.datetime] = None) -> List[Line]:
        """Returns the headers of a message that was published now, or at a time in UTC."""
        time = time or datetime.datetime.now(datetime.timezone.utc)
        with self._lock:
            self._counter += 1
            counter = self._counter
        return make(
            curve_seed=self.seeds[0], sign_seed=self.seeds[1], receiver=self.receiver,
            salt=self._salt, counter=counter, account=self._account, subject=subject, time=time.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
            headers=[(name, value) for name, values in headers.items() for value in values],
            encrypt=self._encrypt, sign=self._sign, payload=payload,
        )  # fmt: skip


def make(
    *, curve_seed: str, sign_seed: str, receiver: str, salt: bytes, counter: int, account: str, subject: str, time: str,
    headers: Iterable[Line], encrypt: Sequence[str] = (), sign: bool = False, payload: bytes = b"",
) -> List[Line]:  # fmt: skip
    """Returns the lines of a stamped message: provenance, the headers, and the proof. The same input gives the same proof.

    receiver is the public key of the receiver, or empty; encrypt are names whose values only the receiver can read; time has nine
    digits of a second.
    """
    headers = list(headers)
    origin = [Field(name, [value.encode()], False) for name, value in zip(PROVENANCE, (account, subject, time))]
    concealed = {fold(name) for name in encrypt}
    fields = _fields(headers, concealed)
    sealed = any(field.encrypted for field in fields)
    if not sign and not receiver or sealed and not receiver:
        raise ValueError("the proof is neither for a receiver nor signed, or has values to encrypt and no receiver")
    for_receiver = bool(receiver) and (sealed or not sign)
    proof = bytes([3 if sign and for_receiver else 2 if sign else 1])
    cipher = None
    if for_receiver:
        private, other = X25519PrivateKey.from_private_bytes(seed("X", curve_seed)), public_key("X", receiver)
        public = raw(private.public_key())
        proof += key_id(public) + key_id(other) + salt + counter.to_bytes(4, "big")
        cipher = AESGCM(derive(private.exchange(X25519PublicKey.from_public_bytes(other)), salt, public, other))
    signer = Ed25519PrivateKey.from_private_bytes(seed("N", sign_seed)) if sign else None
    if signer:
        proof += key_id(raw(signer.public_key()))
    for field in fields:
        proof += (entry_of(fold(field.name)) | (0x800000 if field.encrypted else 0)).to_bytes(3, "big")
    if cipher:
        proof += _seal(cipher, counter, proof, origin + fields, payload)
    if signer:
        proof += signer.sign(LABEL + proof + text_of(origin + fields) + hashlib.sha256(payload).digest())
    texts: Dict[str, List[str]] = {field.name: [value.decode() for value in field.values] for field in fields}
    lines = list(zip(PROVENANCE, (account, subject, time)))
    lines += [(name, texts[name].pop(0)) for name, _ in headers]
    return [*lines, (PROOF, to_base64(proof))]


def _fields(headers: Iterable[Line], concealed: Set[str]) -> List[Field]:
    fields: Dict[str, Field] = {}
    for name, value in headers:
        field = fields.setdefault(fold(name), Field(name, [], fold(name) in concealed))
        if field.name != name:
            raise ValueError("a header in two spellings")
        field.values.append(value.encode())
        if field.encrypted:
            field.ciphertexts.append(value.encode())
    return [field for _, field in sorted(fields.items())]


def _seal(cipher: AESGCM, counter: int, head: bytes, fields: List[Field], payload: bytes) -> bytes:
    """Encrypts the values, and returns the tag. Until then, what is to be encrypted stands where its ciphertext will."""
    nonce = bytes(7) + counter.to_bytes(4, "big")
    plaintext = b"".join(value for field in fields for value in field.ciphertexts)
    tag = cipher.encrypt(b"\x01" + nonce, b"", payload)
    sealed = cipher.encrypt(b"\x00" + nonce, plaintext, LABEL + head + mac_text_of(fields) + tag)
    at = 0
    for field in fields:
        for number, value in enumerate(field.ciphertexts):
            field.ciphertexts[number] = sealed[at : at + len(value)]
            field.values[number] = to_base64(field.ciphertexts[number]).encode()
            at += len(value)
    return sealed[at:]
