#!/usr/bin/env python3
"""Issues a user JWT with a headers claim.

ACCOUNT_SEED=SA... python3 issue.py USER_PUBLIC_KEY
With the seed of a signing key, ISSUER_ACCOUNT=A... is the account's public key.

Needs the package cryptography (Debian: python3-cryptography).
"""
import base64
import binascii
import json
import os
import sys
import time
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLAIM = {
    "headers": {
        "Session": "0af3c1",
        "Roles": ["admin", "ops"],
        "X-Tenant": {"value": "acme", "subjects": ["api.>"]},
    },
    "header_permissions": {"subscribe": {"allow": ["Session"]}},
}


def account_key(seed):
    """Returns the private key and the public nkey of the seed of an account's key, or of a signing key."""
    raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    private = Ed25519PrivateKey.from_private_bytes(raw[2:34])  # then a CRC
    body = b"\0" + private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    crc = binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return private, base64.b32encode(body + crc).decode().rstrip("=")


def part(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def issue(seed, account, user):
    private, issuer = account_key(seed)
    # -1 is "no limit": 0 would mean none.
    nats = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, **CLAIM}
    if account:
        nats["issuer_account"] = account
    signed = part({"typ": "JWT", "alg": "ed25519-nkey"}) + "." + part({
        "jti": str(uuid.uuid4()),
        "iat": int(time.time()),
        "iss": issuer,
        "sub": user,
        "name": "alice",
        "nats": nats,
    })
    return signed + "." + part(private.sign(signed.encode()))


if __name__ == "__main__":
    print(issue(os.environ["ACCOUNT_SEED"], os.environ.get("ISSUER_ACCOUNT"), sys.argv[1]))
