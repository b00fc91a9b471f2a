"""The rules of docs/proofs.md, by the vectors that all languages share."""

import base64
import calendar
import json
import pathlib
import time
import unittest

from stamp_receiver import Anonymous, Trust, forward, forwarded, identify
from stamp_receiver.testing import Server, make

def read(name):
    return json.loads((pathlib.Path(__file__).parents[2] / name).read_text(encoding="utf-8"))


VECTORS = read("vectors.json")


def nanoseconds(text):
    """The nanoseconds of a time in RFC 3339, with or without a fraction."""
    second, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(second, "%Y-%m-%dT%H:%M:%S")) * 1_000_000_000 + int(fraction.ljust(9, "0"))


def judge(message, trust, now):
    """The verdict on a message, in the form of the vectors."""
    try:
        if message.get("forwarded"):
            got = forwarded(message["headers"] or (), trust, now)
        else:
            got = identify(message["headers"] or (), base64.b64decode(message.get("payload") or ""), trust, now, message.get("arrived"))
    except Anonymous as err:
        return {"verdict": err.verdict}
    ok = {"verdict": "ok", "user": got.user, "values": dict(got.values), "account": got.account, "subject": got.subject, "time": got.timestamp, "proven": got.proven}
    ok["server"] = got.server
    return told(ok)


def told(verdict):
    """Without what is empty."""
    return {name: value for name, value in verdict.items() if value not in (None, {}, False, "")}


class Vectors(unittest.TestCase):
    def test_cases(self):
        for case in VECTORS["cases"]:
            with self.subTest(case["name"]):
                trust = Trust.from_json(case["trust"])
                if "subjects" in case:
                    trust = trust.for_subjects(*case["subjects"])
                for message in (*case.get("before", []), case):
                    got = judge(message, trust, nanoseconds(message.get("now", case["now"])))
                self.assertEqual(got, told(case["want"]))

    def test_bad_trusts(self):
        for case in VECTORS["bad_trusts"]:
            with self.subTest(case["name"]):
                with self.assertRaises((ValueError, TypeError)) as caught:
                    Trust.from_json(case["trust"])
                self.assertIn(case.get("field", ""), str(caught.exception))

    def test_good_trusts(self):
        for case in VECTORS["good_trusts"]:
            with self.subTest(case["name"]):
                Trust.from_json(case["trust"])
                Trust.from_json(json.dumps(case["trust"]))

    def test_bad_texts(self):
        for case in VECTORS["bad_texts"]:
            for text in (case["text"], case["text"].encode()):
                with self.subTest(case["name"]):
                    with self.assertRaises(ValueError) as caught:
                        Trust.from_json(text)
                    self.assertIn(case["field"], str(caught.exception))

    def test_bytes(self):
        """Bytes are UTF-8, as in the other languages. json.loads would guess, and take half of a character."""
        good = '{"user": "X-User"}'
        self.assertEqual(Trust.from_json(good.encode()).user, "X-User")
        for deep in ("[" * 100_000, '{"user": "X-User", "one": ' + "[" * 100_000 + "]" * 100_000 + "}"):
            with self.assertRaises(ValueError):
                Trust.from_json(deep)
        for bad in (good.encode("utf-16"), good.encode("utf-32-le"), good.encode("utf-8-sig"), b'{"user": "X-User", "accounts": {"A\xff": ["a"]}}', b'{"user": "X-User", "one": ["\xed\xa0\x80"]}'):
            with self.assertRaises(ValueError, msg=bad):
                Trust.from_json(bad)

    def test_no_seed_in_errors(self):
        server = Server()
        text = json.dumps({"user": "X-User", "accounts": {"APP": [">"]}, "servers": server.servers, "keys": server.keys})
        for at in range(len(text)):
            for broken in (text[:at], text[:at] + "\n" + text[at:], text[:at] + '"' + text[at:], text[:at] + text[at + 1 :]):
                try:
                    Trust.from_json(broken)
                except (ValueError, TypeError) as err:
                    shown = repr((err, vars(err), err.__cause__))
                    seed = server.keys[0]
                    self.assertFalse([i for i in range(len(seed) - 11) if seed[i : i + 12] in shown], shown)

    def test_mutations(self):
        mutations = read("mutations.json")
        trust, now = Trust.from_json(mutations["trust"][0]), nanoseconds(mutations["now"][0])
        for case in mutations["cases"]:
            with self.subTest(case["name"]):
                self.assertEqual(judge(case, trust, now), told(case["want"]))

    def test_make(self):
        for case in read("make.json")["cases"]:
            with self.subTest(case["name"]):
                payload = base64.b64decode(case.get("payload") or "")
                lines = make(
                    curve_seed=case.get("curve_seed"), sign_seed=case.get("sign_seed"), receiver=case.get("receiver"), salt=base64.b64decode(case["salt"]),
                    counter=case["counter"], account=case["account"], subject=case["subject"], time=case["time"],
                    headers=[tuple(line) for line in case["headers"] or ()], encrypt=case.get("encrypt") or (), sign=case.get("sign", False), payload=payload,
                )  # fmt: skip
                self.assertEqual(lines, [tuple(line) for line in case["lines"]])
                trust = Trust.from_json(case["trust"])
                text = forward(lines, payload, trust, nanoseconds(case["time"]))
                self.assertEqual(text, case["forward"])

    def test_server(self):
        for options in ({}, {"encrypt": ["Session"]}, {"sign": True}, {"encrypt": ["Session"], "sign": True}):
            with self.subTest(str(options)):
                server = Server(**options)
                trust = Trust("X-User", one=["Session"], accounts={"APP": ["orders.>"]}, servers=server.servers, keys=server.keys, max_age=60)
                headers = server.stamp({"X-User": ["alice"], "Session": ["0af3"]}, "orders.new", b"{}")
                got = identify(headers, b"{}", trust)
                self.assertEqual((got.user, got.value("Session"), got.proven), ("alice", "0af3", True))
                with self.assertRaises(Anonymous):
                    identify(headers, b"[]", trust)

    def test_value(self):
        """A header with several values has none that is the value."""
        got = identify([("X-User", "alice"), ("Roles", "a"), ("Roles", "b"), ("Tenant", "t")], b"", Trust("X-User", many=["Roles", "Tenant"]))
        self.assertEqual((got.value("Roles"), got.value("Tenant"), got.value("Other")), (None, "t", None))

    def test_forward_nothing(self):
        """What cannot be forwarded is nobody's for who asks."""
        server = Server(encrypt=["Session"], sign=True)
        headers = server.stamp({"X-User": ["alice"], "Session": ["0af3"]}, "orders.new", b"{}")
        for trust in (Trust("X-User", accounts={"APP": [">"]}, servers=server.servers), Trust("X-User")):
            self.assertEqual(identify(headers, b"{}", trust).user, "alice")
            with self.assertRaises(Anonymous) as caught:
                forward(headers, b"{}", trust)
            self.assertEqual(caught.exception.verdict, "proof-key")


if __name__ == "__main__":
    unittest.main()
