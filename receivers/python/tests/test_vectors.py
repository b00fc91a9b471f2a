"""What docs/proofs.md says, by the vectors that all languages have."""

import base64
import calendar
import json
import pathlib
import time
import unittest

from stamp_receiver import Anonymous, Trust, forwarded, identify

VECTORS = json.loads((pathlib.Path(__file__).parents[2] / "vectors.json").read_text(encoding="utf-8"))


def nanoseconds(text):
    """Of a time in RFC 3339, with or without a fraction."""
    second, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(second, "%Y-%m-%dT%H:%M:%S")) * 1_000_000_000 + int(fraction.ljust(9, "0"))


def judge(message, trust, now):
    """The verdict on a message, in the form of the vectors."""
    try:
        if message.get("forwarded"):
            got = forwarded(message["headers"] or (), trust, now)
        else:
            got = identify(message["headers"] or (), base64.b64decode(message.get("payload") or ""), trust, now)
    except Anonymous as err:
        return {"verdict": err.verdict}
    told = {"verdict": "ok", "user": got.user, "values": dict(got.values), "account": got.account, "subject": got.subject, "time": got.timestamp, "proven": got.proven}
    return {name: value for name, value in told.items() if value not in (None, {}, False, "")}


class Vectors(unittest.TestCase):
    def test_cases(self):
        for case in VECTORS["cases"]:
            with self.subTest(case["name"]):
                trust = Trust.from_json(case["trust"])
                for message in (*case.get("before", []), case):
                    got = judge(message, trust, nanoseconds(message.get("now", case["now"])))
                self.assertEqual(got, {name: value for name, value in case["want"].items() if value not in (None, {}, False, "")})

    def test_bad_trusts(self):
        for case in VECTORS["bad_trusts"]:
            with self.subTest(case["name"]):
                with self.assertRaises((ValueError, TypeError)):
                    Trust.from_json(case["trust"])


if __name__ == "__main__":
    unittest.main()
