"""What a receiver trusts."""

import copy
import hashlib
import json
import re
import threading
from collections import OrderedDict
from types import MappingProxyType
from typing import Any, Callable, Collection, Dict, Generic, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ._bytes import public_key, seed
from ._names import fold, is_token
from ._proof import FORWARDED, LABEL, PROOF, PROVENANCE

#: How many keys of salts are kept: one for each connection that publishes.
_MAX_MESSAGE_KEYS = 10_000
_MAX_SECONDS = 100 * 366 * 24 * 60 * 60
_DEFAULT_SKEW = 5
#: As in the other languages.
_MAX_REPLAYS = 8_000_000
# No subject on which a header is stamped has these. White space beyond ASCII is most likely an error: it is what Unicode calls White_Space, since
# str.isspace and \s have more, which the receivers in other languages take. A lone surrogate is in no UTF-8.
_WHITE_SPACE = "\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NONE_OF_SUBJECTS = re.compile(f"[\0- \x7f\ufffd\ud800-\udfff{_WHITE_SPACE}]")
# The server has no such name in Stamp-Account, so the trust would be for nobody.
_NO_ACCOUNT = re.compile(f"\\A\\Z|[\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029\ufffd\ud800-\udfff]|\\A[{_WHITE_SPACE}\ufeff]|[{_WHITE_SPACE}\ufeff]\\Z")

T = TypeVar("T")


class Cache(Generic[T]):
    """Holds so many entries at most: the one that was put in first is forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: "OrderedDict[bytes, T]" = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Optional[T]:
        with self._lock:
            return self._entries.get(key)

    def add(self, key: bytes, value: T) -> bool:
        """Returns whether the key is new."""
        with self._lock:
            if key in self._entries:
                return False
            if len(self._entries) >= self._limit:
                self._entries.popitem(last=False)
            self._entries[key] = value
            return True


def key_id(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()[:2]


def raw(key: Union[X25519PublicKey, Ed25519PublicKey]) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def derive(secret: bytes, salt: bytes, server: bytes, receiver: bytes) -> bytes:
    """The key of AES-256-GCM for the messages with one salt."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=LABEL + server + receiver).derive(secret)


class Signer(NamedTuple):
    """A server's Ed25519 key, and its text in the trust."""

    text: str
    id: bytes
    key: Ed25519PublicKey


class Pair(NamedTuple):
    """A server's X25519 key, its text in the trust, and one key of the receiver's."""

    text: str
    server: bytes
    receiver: bytes
    server_id: bytes
    receiver_id: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Pair({self.text})"  # without the secret


class Trust:
    """What a receiver trusts. It does not change, and any number of threads may use it.

    The arguments are those of the table in docs/proofs.md. ValueError or TypeError names the one that cannot be.
    """

    def __init__(
        self,
        user: str,
        one: Sequence[str] = (),
        many: Sequence[str] = (),
        accounts: Mapping[str, Sequence[str]] = MappingProxyType({}),
        max_age: int = 0,
        max_skew: int = 0,
        servers: Sequence[str] = (),
        keys: Sequence[str] = (),
        replays: int = 0,
        signed: Sequence[str] = (),
    ) -> None:
        for name, texts in (("one", one), ("many", many), ("servers", servers), ("keys", keys), ("signed", signed)):
            _check_texts(name, texts)
        if not isinstance(accounts, Mapping):
            raise TypeError("accounts: expected names of accounts, and for each a list of subjects")
        max_age, max_skew, replays = _whole("max_age", max_age), _whole("max_skew", max_skew), _whole("replays", replays)
        if max(max_age, max_skew) > _MAX_SECONDS:
            raise ValueError("max_age, max_skew: expected at most 100 years in seconds")
        if replays > _MAX_REPLAYS:
            raise ValueError(f"replays: expected at most {_MAX_REPLAYS}, found {replays}")
        if servers and not accounts:
            raise ValueError("servers without accounts: say in which accounts, and on which subjects, a message must have been published")
        if not servers and (keys or replays):
            raise ValueError("keys or replays without servers: no proof would be looked at")
        if signed and not any(text.startswith("N") for text in servers):
            raise ValueError("signed without a server that signs: servers has no public key N...")
        if max_age and not accounts:
            raise ValueError("max_age without accounts: no time would be looked at")
        if max_skew and not max_age:
            raise ValueError("max_skew without max_age: no time would be looked at")
        self.user = user
        self.one = tuple(one)
        self.many = tuple(many)
        self.names = (user, *one, *many)
        _check_names(self.names)
        self.accounts = {account: _patterns(account, subjects) for account, subjects in accounts.items()}
        self.signed = [_pattern("signed", subject) for subject in signed]
        self.max_age = max_age
        self.max_skew = max_skew or _DEFAULT_SKEW
        self.wants_proof = len(servers) > 0
        self.has_keys = len(keys) > 0
        self.taken: Optional[Cache[bool]] = Cache(replays) if replays else None
        self.signers, self.pairs = _read_keys(servers, keys)
        self._handled: Optional[List[List[str]]] = None  # None: a handler is for messages that were published where they arrived
        self._ciphers: Cache[AESGCM] = Cache(_MAX_MESSAGE_KEYS)

    @classmethod
    def from_json(cls, fields: Union[str, bytes, Mapping[str, Any]]) -> "Trust":
        """Takes a text with the fields of docs/proofs.md, or what json.load has made of it, which does not tell that a name is there twice."""
        if isinstance(fields, (str, bytes)):
            fields = _read(fields)
        if not isinstance(fields, Mapping):
            raise ValueError("expected an object with the fields of a trust")
        for name, value in fields.items():
            if value is None:
                raise ValueError(f"{name}: expected a value, found null")
        return cls(**fields)

    def for_subjects(self, *subjects: str) -> "Trust":
        """Returns a trust for a handler whose messages are published on these subjects, with wildcards.

        It is for messages that arrive on another subject than that on which they are published, because a mapping, an import or a stream
        changes it. It remembers proofs together with this one. Subjects of an earlier for_subjects no longer count. forwarded wants the trust
        from before. ValueError or TypeError says what cannot be.
        """
        _check_texts("for_subjects", subjects)
        if not self.accounts:
            raise ValueError("for_subjects without accounts: no subject would be looked at")
        if not subjects:
            raise ValueError("for_subjects: expected at least one subject, found none")
        trust = copy.copy(self)
        trust._handled = [_pattern("for_subjects", subject) for subject in subjects]
        return trust

    def is_for(self, subject: str, arrived: Optional[str]) -> bool:
        """Whether a message that was published on a subject is for the handler.

        The subject on which it arrived is compared as it is: whoever publishes to orders.* does not choose a pattern.
        """
        if self._handled is not None:
            return any(fits(pattern, subject) for pattern in self._handled)
        return arrived is None or arrived == subject

    def cipher(self, pair: Pair, salt: bytes) -> AESGCM:
        """AES-256-GCM with the key of the messages with one salt."""
        cipher = self._ciphers.get(_cipher_name(pair, salt))
        return cipher or AESGCM(derive(pair.secret, salt, pair.server, pair.receiver))

    def keep_cipher(self, pair: Pair, salt: bytes, cipher: AESGCM) -> None:
        """Keeps what cipher returned for the next messages with that salt.

        Only for a message whose tag fits: a stranger can choose salts, and would push out those of others.
        """
        self._ciphers.add(_cipher_name(pair, salt), cipher)


def _cipher_name(pair: Pair, salt: bytes) -> bytes:
    return pair.server + pair.receiver + salt


def _check_texts(name: str, texts: Sequence[str]) -> None:
    if isinstance(texts, (str, bytes, Mapping)) or not isinstance(texts, Collection) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{name}: expected a list of texts")
    if name in ("servers", "keys") and len(set(texts)) != len(texts):
        raise ValueError(f"{name}: one is there twice")


def _whole(name: str, number: Any) -> int:
    """A whole number. json gives a float for 1e2, which other parsers do not tell from 100."""
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"{name}: expected a whole number that is not negative")
    return number


def _read(text: Union[str, bytes]) -> Any:
    """Reads JSON, of which the errors do not hold the text: it has seeds, and reports of errors have all attributes of one."""
    try:
        # json.loads would guess the encoding of bytes.
        return json.loads(text if isinstance(text, str) else text.decode("utf-8"), object_pairs_hook=_only_once)
    except json.JSONDecodeError as err:
        fault = f"expected JSON; line {err.lineno}, column {err.colno}: {err.msg}"
    except UnicodeDecodeError as err:
        fault = f"expected JSON in UTF-8; found another byte at {err.start}"
    except RecursionError:
        fault = "expected JSON that is not nested as deep"
    raise ValueError(fault)


def _only_once(members: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """An object of JSON, which has each name once."""
    names: Dict[str, Any] = {}
    for name, value in members:
        if name in names:
            raise ValueError(f"{name!r} is there twice")
        names[name] = value
    return names


def _check_names(names: Iterable[str]) -> None:
    seen = {fold(name) for name in (*PROVENANCE, PROOF, FORWARDED)}
    for name in names:
        if not isinstance(name, str) or not is_token(name):
            raise ValueError("user, one, many: expected names of headers")
        if fold(name) in seen:
            raise ValueError(f"user, one, many: the name {name!r} is of provenance or of proofs, or is there twice")
        seen.add(fold(name))


def _patterns(account: str, subjects: Sequence[str]) -> List[List[str]]:
    _check_texts("accounts", subjects)
    if not isinstance(account, str) or not subjects:
        raise ValueError("accounts: expected names of accounts, and for each a list of subjects")
    if _NO_ACCOUNT.search(account):
        raise ValueError(f"accounts: expected names without control characters, lone surrogates and white space around them; found {account!r}")
    return [_pattern(f"accounts: {account!r}", subject) for subject in subjects]


def _pattern(field: str, subject: str) -> List[str]:
    """Refuses what only looks like a wildcard, as pay* does: to NATS that is a plain text, so the rule would protect nothing."""
    tokens = subject.split(".")
    if any(token == "" or _NONE_OF_SUBJECTS.search(token) or len(token) > 1 and re.search("[*>]", token) for token in tokens) or ">" in tokens[:-1]:
        raise ValueError(f"{field}: expected subjects, with * and > as whole tokens and > as the last one; found {subject!r}")
    return tokens


def fits(pattern: Sequence[str], subject: str) -> bool:
    """Whether a pattern, in tokens, fits a subject. Wildcards in the subject are plain characters."""
    tokens = subject.split(".")
    if "" in tokens:
        return False
    for at, token in enumerate(pattern):
        if token == ">" and at == len(pattern) - 1:
            return len(tokens) > at
        if at >= len(tokens) or token not in ("*", tokens[at]):
            return False
    return len(tokens) == len(pattern)


def _read_keys(servers: Sequence[str], keys: Sequence[str]) -> Tuple[List[Signer], List[Pair]]:
    signers, curves = [], []
    for text in servers:
        if text[:1] not in ("X", "N"):
            raise ValueError("servers: expected public keys that begin with X or N")
        public = _in_field("servers", public_key, text[0], text)
        if text[0] == "N":
            signers.append(Signer(text, key_id(public), Ed25519PublicKey.from_public_bytes(public)))
        else:
            curves.append((text, public))
    pairs = []
    for own_seed in keys:
        private = X25519PrivateKey.from_private_bytes(_in_field("keys", seed, "X", own_seed))
        own = raw(private.public_key())
        for text, server in curves:
            pairs.append(Pair(text, server, own, key_id(server), key_id(own), _secret(private, server)))
    return signers, pairs


def _in_field(field: str, read: Callable[[str, str], bytes], kind: str, text: str) -> bytes:
    """Reads a key, and names the field in the error, which does not hold the key."""
    try:
        return read(kind, text)
    except ValueError as err:
        raise ValueError(f"{field}: {err}") from None


def _secret(private: X25519PrivateKey, server: bytes) -> bytes:
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(server))
    except ValueError:
        secret = bytes(32)
    if not any(secret):
        raise ValueError("servers: a key cannot be used: the secret is all zeros")
    return secret
