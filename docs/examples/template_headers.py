#!/usr/bin/env python3
"""Puts headers into the templates of scoped signing keys of an account JWT, and signs it anew.

OPERATOR_SEED=SO... python3 template_headers.py templates.json < account.jwt > new.jwt

templates.json has for each role what its template gets:
{"team": {"headers": {"X-Team": "{{tag(team)}}"}, "header_permissions": {"subscribe": {"allow": ["Session"]}}}}

nsc drops both when it writes the account JWT. Needs the package cryptography (Debian: python3-cryptography).
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


def operator_key(seed):
    """Returns the private key and the public nkey of the seed of an operator's key, or of its signing key."""
    raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    private = Ed25519PrivateKey.from_private_bytes(raw[2:34])  # then a CRC
    body = bytes([14 << 3]) + private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    crc = binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return private, base64.b32encode(body + crc).decode().rstrip("=")


def part(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def payload_of(token):
    text = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def fill(payload, templates):
    """Fills in the templates by role, and fails if the account has no such role."""
    scopes = [k for k in payload["nats"].get("signing_keys", []) if isinstance(k, dict)]
    for role, fields in templates.items():
        found = [s for s in scopes if s.get("role") == role]
        if not found:
            sys.exit(f"the account has no signing key with the role {role}")
        for scope in found:
            scope["template"].update(fields)


def main():
    private, issuer = operator_key(os.environ["OPERATOR_SEED"].strip())
    payload = payload_of(sys.stdin.read().strip())
    with open(sys.argv[1], encoding="utf-8") as file:
        fill(payload, json.load(file))
    payload.update(iss=issuer, iat=int(time.time()), jti=str(uuid.uuid4()))
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = part(json.dumps(header).encode()) + "." + part(json.dumps(payload).encode())
    print(signed + "." + part(private.sign(signed.encode())))


if __name__ == "__main__":
    main()
