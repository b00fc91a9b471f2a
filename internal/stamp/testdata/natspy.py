"""Reads header blocks, one a line in base64, and writes for each one line of
JSON: what nats.py makes of it (aio/client.py, _process_headers). The parser of
the standard library does the work; here is only where it is started. Values are
taken raw: nats.py fails on those that are not ASCII."""

import base64
import json
import sys
from email.parser import BytesParser


def decode(block):
    if not block.startswith(b"NATS/1.0"):
        raise ValueError("no version")
    rest = block[8:]
    if rest[:1] == b" ":
        text = rest[5:-4]
        at = text.find(b"\r\n")
        if at <= 0:
            return []
        text[:at].decode()
        rest = text[at:]
    return BytesParser().parsebytes(rest[2:]).raw_items()


for line in sys.stdin:
    try:
        names = {}
        for name, value in decode(base64.b64decode(line)):
            value = value.encode("ascii", "surrogateescape").decode("utf-8", "replace")
            names.setdefault(name, []).append(value.replace("\r\n", "").replace("\n", "").replace("\r", ""))
        print(json.dumps({"headers": list(names.items())}))
    except ValueError as err:
        print(json.dumps({"error": str(err)}))
