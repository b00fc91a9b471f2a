"""How a message is judged, step by step as in docs/proofs.md."""

import datetime
import hashlib
import re
import time
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ._bytes import from_base64, utf8
from ._errors import Anonymous
from ._names import Group, entry_of, fold, groups_of
from ._proof import FORWARDED, LABEL, PROOF, PROVENANCE, Field, Proof, forwarded_text, mac_text_of, parse_forwarded, parse_text, text_of
from ._trust import Pair, Signer, Trust, fits

Headers = Iterable[Tuple[str, str]]


@dataclass(frozen=True)
class Identity:
    """Who sent a message."""

    user: str
    #: All values of the headers that the trust names in one and many, by the name as the trust spells it.
    #: They may be secrets, so repr() does not show them.
    values: Mapping[str, List[str]] = field(repr=False)
    #: Account, subject as published, and time; None where the trust has no accounts.
    account: Optional[str]
    subject: Optional[str]
    time: Optional[datetime.datetime]
    #: The time as in the message, to the nanosecond: 2026-03-01T12:00:00.123456789Z.
    timestamp: Optional[str]
    #: Whether a proof was checked. If not, all that is known is what the last server wrote.
    proven: bool
    #: The public key of the server that has proven it, as the trust has it: N... of a signature, or else X.... None without a proof.
    server: Optional[str] = None

    def value(self, name: str) -> Optional[str]:
        """The value of a header that the trust names in one or many, or None where it has none, or several."""
        values = self.values.get(name, [])
        return values[0] if len(values) == 1 else None


class _Payload:
    """What stands for a payload in a proof."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def tag(self, cipher: AESGCM, counter: bytes) -> bytes:
        return cipher.encrypt(_nonce(1, counter), b"", self._data)

    def hash(self) -> bytes:
        return hashlib.sha256(self._data).digest()


class _Digests(_Payload):
    """The same of a payload that is not at hand."""

    def __init__(self, tag: bytes, digest: bytes) -> None:
        super().__init__(b"")
        self._tag, self._digest = tag, digest

    def tag(self, cipher: AESGCM, counter: bytes) -> bytes:
        return self._tag

    def hash(self) -> bytes:
        return self._digest


@dataclass
class _Believed:
    """A header that is believed. values is None where they are encrypted for somebody else."""

    group: Group
    values: Optional[List[str]]


@dataclass
class _Proven:
    """What a proof has proven, and whose key did."""

    proof: Proof
    believed: Dict[str, _Believed]
    fields: List[Field]
    cipher: Optional[AESGCM]
    server: str


def identify(headers: Headers, payload: bytes, trust: Trust, now: Optional[int] = None, subject: Optional[str] = None) -> Identity:
    """Says who has sent a message. Raises Anonymous where that is nobody whom the trust knows.

    headers are the names and values in the order of the message; now is in nanoseconds since 1970, as of time.time_ns(). subject is that
    on which the message arrived. With it, a message that was published on another subject is refused, unless the trust is one of for_subjects.
    A trust without accounts looks at no subject.
    """
    groups = groups_of(headers)
    if not trust.wants_proof:
        return _judge(groups, _as_written(groups, trust), trust, now, subject)
    proof = parse_text(_only_line(groups, PROOF))
    proven = _prove(groups, trust, proof, _keys(trust, proof), _Payload(payload))
    identity = _judge(groups, proven.believed, trust, now, subject, proven)
    if trust.taken is not None and not trust.taken.add(proof.data, True):
        raise Anonymous("replayed")
    return identity


def forwarded(headers: Headers, trust: Trust, now: Optional[int] = None) -> Identity:
    """Says who had sent the message of which somebody passes on the proof."""
    proof, rest = parse_forwarded(_only_line(groups_of(headers), FORWARDED))
    # The keys are looked at before the fields, which anybody can make many of. Without servers there is none.
    keys = _keys(trust, proof)
    found = rest()
    groups = groups_of(found.headers)
    digests = _Digests(found.payload_tag, found.payload_hash)
    proven = _prove(groups, trust, proof, keys, digests, found.text)
    return _judge(groups, proven.believed, trust, now, None, proven)


def forward(headers: Headers, payload: bytes, trust: Trust, now: Optional[int] = None, subject: Optional[str] = None) -> str:
    """Returns the value of Stamp-Forwarded-Proof with which a service passes on the proof of a message that it got.

    Raises Anonymous where the message is from nobody, and where the trust has no servers, or no keys for a proof of kind 3. What is remembered against replays is not looked at.
    """
    groups = groups_of(headers)
    if not trust.wants_proof:
        _judge(groups, _as_written(groups, trust), trust, now, subject)
        raise Anonymous("proof-key")
    proof = parse_text(_only_line(groups, PROOF))
    content = _Payload(payload)
    proven = _prove(groups, trust, proof, _keys(trust, proof), content)
    _judge(groups, proven.believed, trust, now, subject, proven)
    if proof.tag and proven.cipher is None:
        raise Anonymous("proof-key")
    tag = content.tag(proven.cipher, proof.counter) if proven.cipher else b""
    return forwarded_text(proof, tag, content.hash() if proof.signature else b"", proven.fields)


def _nonce(first: int, counter: bytes) -> bytes:
    """The nonces of a message: 1 for its payload, 0 for the rest."""
    return bytes([first]) + bytes(7) + counter


def _only_line(groups: Dict[str, Group], name: str) -> str:
    group = groups.get(fold(name))
    if group is None:
        raise Anonymous("anonymous")
    if group.crowded or group.spelling != name or len(group.values) != 1:
        raise Anonymous("proof-malformed")
    return group.values[0]


def _as_written(groups: Dict[str, Group], trust: Trust) -> Dict[str, _Believed]:
    """Step 2: without a proof, what is there is believed."""
    believed = {}
    for name in trust.names:
        group = groups.get(fold(name))
        if group is not None:
            believed[group.folded] = _Believed(group, group.values)
    return believed


class _Keys(NamedTuple):
    """The keys that can have made a proof. opens says whether its tag is checked."""

    pairs: List[Pair]
    signers: List[Signer]
    opens: bool


def _keys(trust: Trust, proof: Proof) -> _Keys:
    """Step 4."""
    pairs = [pair for pair in trust.pairs if (pair.server_id, pair.receiver_id) == (proof.server, proof.receiver)]
    signers = [signer for signer in trust.signers if signer.id == proof.signer]
    opens = bool(proof.tag) and (not proof.signature or trust.has_keys)
    if opens and not pairs or proof.signature and not signers:
        raise Anonymous("proof-key")
    return _Keys(pairs, signers, opens)


def _prove(groups: Dict[str, Group], trust: Trust, proof: Proof, keys: _Keys, payload: _Payload, wanted: Optional[bytes] = None) -> _Proven:
    """Steps 5 and 6. wanted is F_text, where it is given."""
    pairs, signers, opens = keys
    found = _fields(groups, proof, opens)
    fields = [field for _, field in found]
    if wanted is not None and text_of(fields) != wanted:
        raise Anonymous("proof-malformed")
    cipher, plaintext, server = None, b"", None
    if opens:
        ciphertext = b"".join(text for field in fields for text in field.ciphertexts)
        fixed = LABEL + proof.before_tag + mac_text_of(fields)
        for pair in pairs:
            tried = trust.cipher(pair, proof.salt)
            try:
                plaintext = tried.decrypt(_nonce(0, proof.counter), ciphertext + proof.tag, fixed + payload.tag(tried, proof.counter))
            except InvalidTag:
                continue
            trust.keep_cipher(pair, proof.salt, tried)
            cipher, server = tried, pair.text
            break
        if cipher is None:
            raise Anonymous("proof-wrong")
    if proof.signature:
        signed = LABEL + proof.before_signature + text_of(fields) + payload.hash()
        # Of a proof with both, the signature says which server it was: whoever holds the receiver's seed can make a tag.
        server = next((signer.text for signer in signers if _verifies(signer.key, proof.signature, signed)), None)
    if server is None:
        raise Anonymous("proof-wrong")
    believed, at = {}, 0
    for group, field in found:
        values: Optional[List[str]] = group.values
        if field.encrypted:
            values = None
            if cipher is not None:
                values = []
                for text in field.ciphertexts:
                    values.append(_text(plaintext[at : at + len(text)]))
                    at += len(text)
        believed[group.folded] = _Believed(group, values)
    return _Proven(proof, believed, fields, cipher, server)


def _verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Anonymous("field-malformed") from None


def _fields(groups: Dict[str, Group], proof: Proof, opens: bool) -> List[Tuple[Group, Field]]:
    """Step 5."""
    found = []
    for name in PROVENANCE:
        group = _provenance(groups, name)
        found.append((group, _field(group, False, False)))
    by_entry: Dict[int, List[Group]] = {}
    for group in groups.values():
        by_entry.setdefault(entry_of(group.folded), []).append(group)
    own = {fold(name) for name in (*PROVENANCE, PROOF)}
    before = ""
    for entry, encrypted in proof.entries:
        fitting = by_entry.get(entry, [])
        if not fitting:
            raise Anonymous("field-missing")
        if len(fitting) > 1 or fitting[0].crowded:
            raise Anonymous("field-twice")
        group = fitting[0]
        if group.folded <= before or group.folded in own:
            raise Anonymous("proof-malformed")
        found.append((group, _field(group, encrypted, opens)))
        before = group.folded
    return found


def _provenance(groups: Dict[str, Group], name: str) -> Group:
    group = groups.get(fold(name))
    if group is None:
        raise Anonymous("field-missing")
    if group.crowded or group.spelling != name or len(group.values) != 1:
        raise Anonymous("field-twice")
    return group


def _field(group: Group, encrypted: bool, opens: bool) -> Field:
    values = [utf8(value) for value in group.values]
    if len(utf8(group.spelling)) > 0xFFFF or len(values) > 0xFFFF or any(len(value) > 0x7FFFFFFF for value in values):
        raise Anonymous("field-malformed")
    field = Field(group.spelling, values, encrypted)
    if encrypted and opens:
        for value in group.values:
            ciphertext = from_base64(value)
            if ciphertext is None:
                raise Anonymous("field-malformed")
            field.ciphertexts.append(ciphertext)
    return field


def _judge(
    groups: Dict[str, Group], believed: Dict[str, _Believed], trust: Trust, now: Optional[int], arrived: Optional[str], proven: Optional[_Proven] = None
) -> Identity:
    """Steps 7, 8 and 10. arrived is the subject on which the message arrived, where that counts; proven is None without a proof."""
    found = {name: _values(groups, believed, trust, name) for name in trust.names}
    user = found.pop(trust.user)
    assert user  # or _values had raised
    values = {name: texts for name, texts in found.items() if texts is not None}
    server = proven.server if proven else None
    if not trust.accounts:
        return Identity(user[0], values, None, None, None, None, trust.wants_proof, server)
    account, subject, when = (_provenance(groups, name).values[0] for name in PROVENANCE)
    patterns = trust.accounts.get(account, trust.accounts.get("*"))
    if patterns is None:
        raise Anonymous("account")
    if not any(fits(pattern, subject) for pattern in patterns):
        raise Anonymous("subject")
    if not trust.is_for(subject, arrived):
        raise Anonymous("misdirected")
    if proven and not proven.proof.signature and any(fits(pattern, subject) for pattern in trust.signed):
        raise Anonymous("unsigned")
    return Identity(user[0], values, account, subject, _check_time(when, trust, now), when, trust.wants_proof, server)


def _values(groups: Dict[str, Group], believed: Dict[str, _Believed], trust: Trust, name: str) -> Optional[List[str]]:
    """The values of a name that the service reads, or None where it has none that can be read."""
    group = groups.get(fold(name))
    if group is None:
        if name == trust.user:
            raise Anonymous("anonymous")
        return None
    found = believed.get(group.folded)
    if found is None:
        raise Anonymous("field-uncovered")
    if group.crowded or not trust.wants_proof and group.spelling != name:
        raise Anonymous("field-twice")
    if len(group.values) > 1 and name not in trust.many:
        raise Anonymous("field-twice")
    if name == trust.user and (not found.values or not found.values[0]):
        raise Anonymous("anonymous")
    return found.values


_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\.([0-9]{9})Z")


def _check_time(text: str, trust: Trust, now: Optional[int]) -> datetime.datetime:
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise Anonymous("time-malformed")
    try:
        second = datetime.datetime.strptime(parts[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Anonymous("time-malformed") from None
    if second.strftime("%S") != parts[1][-2:]:
        raise Anonymous("time-malformed")  # a leap second
    nanoseconds = int(parts[2])
    if trust.max_age:
        current = time.time_ns() if now is None else now
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        age = current - ((second - epoch) // datetime.timedelta(seconds=1) * 1_000_000_000 + nanoseconds)
        if age > trust.max_age * 1_000_000_000:
            raise Anonymous("old")
        if -age > trust.max_skew * 1_000_000_000:
            raise Anonymous("future")
    return second.replace(microsecond=nanoseconds // 1000)
