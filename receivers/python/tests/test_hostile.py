"""For all headers the receiver gives an identity or raises Anonymous."""

import json
import pathlib
import random
import unittest
import unittest.mock

from stamp_receiver import Anonymous, Trust, _names, _trust, forward, forwarded, identify
from stamp_receiver._bytes import from_base64, to_base64
from stamp_receiver._names import fold
from stamp_receiver._trust import derive
from stamp_receiver.testing import Server

SEED, MESSAGES = 20260301, 10_000

# Pieces that are valid, or nearly so. Among them are texts that are no UTF-8, and digits that are not ASCII.
NAMES = ["X-User", "x_user", "X.User", "X-Us\u00e9er", "X-User\ud800", "\udcffX-User", "Roles", "Session", "Stamp-Proof", "stamp.proof", "Stamp-Forwarded-Proof"]
NAMES += ["Stamp-Account", "Stamp-Subject", "Stamp-Time", "Stamp-Time ", "", " ", "\u2713", "X" * 70_000, "\x00", "__class__", "__proto__"]
VALUES = ["alice", "", " ", "\ud800", "\udcff", "\U0001f600", "APP", "orders.new", ".", ">", "a..b", "AQ", "Ag", "Aw", "AA", "=", "A" * 4097, "A" * 70_000, "-_-_"]
VALUES += ["2026-03-01T12:00:00.123456789Z", "0000-01-01T00:00:00.000000000Z", "9999-12-31T23:59:59.999999999Z", "2026-02-29T12:00:00.000000000Z"]
VALUES += ["\u0662026-03-01T12:00:00.123456789Z", "2026-03-01T12:00:60.000000000Z", "2026-03-01T12:00:00.123456789Z\n"]


def mutated(text, rng):
    """The text with one character changed, left out or put in."""
    at, size = rng.randrange(len(text) + 1), rng.randrange(2)
    return text[:at] + rng.choice(["", "A", "_", "\ud800", "\u0660", "\x00", rng.choice(VALUES)]) + text[at + size :]


class Hostile(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(SEED)
        servers = [Server(), Server(encrypt=["Session"]), Server(sign=True), Server(encrypt=["Session"], sign=True)]
        self.trusts = [Trust("X-User"), Trust("X-User", one=["Session"], many=["Roles"], accounts={"*": [">"]}, max_age=60)]
        self.genuine = []
        for server in servers:
            trust = Trust("X-User", one=["Session"], many=["Roles"], accounts={"APP": ["orders.>"]}, servers=server.servers, keys=server.keys, max_age=3600)
            headers = server.stamp({"X-User": ["alice"], "Roles": ["a", "b"], "Session": ["0af3"]}, "orders.new", b"{}")
            passed = [*headers, ("Stamp-Forwarded-Proof", forward(headers, b"{}", trust))]
            self.trusts.append(trust)
            self.genuine.append(passed)
        hostile = pathlib.Path(__file__).parents[2] / "go/internal/vectors/testdata/hostile.json"
        self.blocks = json.loads(hostile.read_text(encoding="utf-8"))

    def message(self):
        rng = self.rng
        kind = rng.randrange(4)
        if kind == 0:
            return [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randrange(12))]
        if kind == 1:
            points = [*range(0x80), 0xE9, 0x2713, 0xD800, 0xDFFF, 0x10FFFF]
            return [tuple("".join(map(chr, rng.choices(points, k=rng.randrange(9)))) for _ in range(2)) for _ in range(rng.randrange(9))]
        lines = list(rng.choice(self.genuine))
        if kind == 2:
            lines += [tuple(line) for line in rng.choice(self.blocks)]
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(lines))
            name, value = lines[at]
            lines[at] = rng.choice([(name, mutated(value, rng)), (mutated(name, rng), value), (rng.choice(NAMES), value), (name, rng.choice(VALUES))])
        return lines

    def test_replacements(self):
        """A lone surrogate does not count as the character that an encoder writes in its place."""
        for replacement in ("?", "\ufffd"):
            for options in ({}, {"sign": True}):
                server = Server(**options)
                trust = Trust("X-User", accounts={"APP": [">"]}, servers=server.servers, keys=server.keys)
                genuine = server.stamp({"X-User": [f"al{replacement}"]}, "orders.new")
                self.assertEqual(identify(genuine, b"", trust).user, f"al{replacement}")
                for surrogate in ("\ud800", "\udcff"):
                    forged = [(name, value.replace(replacement, surrogate)) for name, value in genuine]
                    with self.assertRaises(Anonymous) as caught:
                        identify(forged, b"", trust)
                    self.assertEqual(caught.exception.verdict, "proof-wrong")

    def test_keys_are_kept(self):
        """Forged messages with other salts do not push out the keys of those that the server made."""
        server, derived = Server(), []

        def counted(*args):
            derived.append(args)
            return derive(*args)

        with unittest.mock.patch.object(_trust, "_MAX_MESSAGE_KEYS", 2), unittest.mock.patch.object(_trust, "derive", counted):
            trust = Trust("X-User", accounts={"APP": [">"]}, servers=server.servers, keys=server.keys)
            identify(server.stamp({"X-User": ["alice"]}, "orders.new"), b"", trust)
            *lines, (name, proof) = server.stamp({"X-User": ["alice"]}, "orders.new")
            for number in range(10):
                data = bytearray(from_base64(proof))
                data[5] ^= number + 1
                with self.assertRaises(Anonymous):
                    identify([*lines, (name, to_base64(bytes(data)))], b"", trust)
            identify([*lines, (name, proof)], b"", trust)
        self.assertEqual(len(derived), 1 + 10)

    def test_folds(self):
        """A name is folded once for a run of its values."""
        folded = []

        def counted(name):
            folded.append(name)
            return fold(name)

        with unittest.mock.patch.object(_names, "fold", counted):
            groups = _names.groups_of([("X" * 1000, "")] * 1000 + [("x" * 1000, "")] * 1000 + [("", ""), ("", "")])
        self.assertEqual(folded, ["X" * 1000, "x" * 1000, ""])
        (group,) = groups.values()
        self.assertEqual((len(group.values), group.crowded), (2000, True))

    def test_only_anonymous(self):
        verdicts = {}
        for number in range(MESSAGES):
            lines, trust = self.message(), self.rng.choice(self.trusts)
            judges = [lambda: identify(lines, b"{}", trust), lambda: forwarded(lines, trust)]
            if trust.wants_proof:
                judges.append(lambda: forward(lines, b"{}", trust))
            for judge in judges:
                try:
                    judge()
                    verdict = "ok"
                except Anonymous as err:
                    verdict = err.verdict
                except Exception as err:
                    raise AssertionError(f"message {number} of the seed {SEED}: {lines!a:.2000}") from err
                verdicts[verdict] = verdicts.get(verdict, 0) + 1
        # The messages reach all steps of the receiver.
        self.assertLessEqual({"ok", "anonymous", "proof-malformed", "proof-wrong", "proof-key", "proof-version", "field-twice", "field-missing"}, set(verdicts))
