"""Messages of nats-py, and the example, at a server with proofs."""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import types
import unittest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "example")]

import nats_client
import service

try:  # nats-py, where it is installed
    import nats.micro.request
    from nats.aio.client import Client as NATS
    from nats.js.api import RawStreamMsg
except ImportError:
    NATS = None

from stamp_receiver import Anonymous, Trust
from stamp_receiver.nats import Headers, KeepsLines, _lines_of, forward, forwarded, identify, receives
from stamp_receiver.testing import Server

SERVER = HERE.parents[2] / "bin/nats-server"
CONFIGURATION = """
listen: "127.0.0.1:-1"
headers {{ proof {{ key_file: {file}, receivers: {{ APP: {receiver} }}, encrypt: ["Session"] }} }}
accounts {{
  APP {{ users: [
    {{user: alice, password: alice, headers: {{X-User: "alice", Session: "0af3 Gr\u00fc\u00dfe \u2713", Roles: ["admin", "ops"]}}}}
    {{user: orders, password: orders, headers: {{X-User: "orders"}}}}
    {{user: plain, password: plain}} ] }}
}}
"""


class Client(KeepsLines, nats_client.Client):
    pass


needs_nats = unittest.skipUnless(NATS, "nats-py is not installed: pip install nats-py")


def message(lines, payload=b"", client=Client, subject="orders.new"):
    block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    headers = asyncio.run(client()._process_headers(block.encode("utf-8", "surrogateescape")))
    return nats_client.Msg(None, subject, "", payload, headers)


def verdict(judge, *arguments):
    try:
        judge(*arguments)
    except Anonymous as err:
        return err.verdict
    return "ok"


class Adapter(unittest.TestCase):
    def setUp(self):
        self.server = Server(encrypt=["Session"])
        self.trust = Trust("X-User", one=["Session"], many=["Roles"], accounts={"APP": [">"]}, servers=self.server.servers, keys=self.server.keys)
        self.plain = Trust("X-User", many=["Roles"])

    def test_proven(self):
        one = self.server.stamp({"X-User": ["alice"], "Session": ["0af3"], "Roles": ["admin"]}, "orders.new", b"{}")
        for client in (Client, nats_client.Client):
            got = identify(message(one, b"{}", client), self.trust)
            self.assertEqual((got.user, got.value("Session"), got.values["Roles"]), ("alice", "0af3", ["admin"]))
            self.assertEqual(verdict(identify, message(one, b"[]", client), self.trust), "proof-wrong")
            passed = forward(message(one, b"{}", client), self.trust)
            self.assertEqual(forwarded(message(passed.items(), client=client), self.trust).user, "alice")

    def test_another_subject(self):
        """A message that was published on another subject is not for the handler."""
        lines, taken, refused = self.server.stamp({"X-User": ["alice"]}, "orders.show"), [], []

        async def nobody(err, msg):
            refused.append((msg.subject, err.verdict))

        @receives(self.trust, nobody)
        async def handler(identity, msg):
            taken.append(msg.subject)

        others = ["orders.delete", "orders.*", ">", "orders.Show", "", None]
        for subject in ("orders.show", *others):
            asyncio.run(handler(message(lines, subject=subject)))
        self.assertEqual((taken, refused), (["orders.show"], [(subject, "misdirected") for subject in others]))
        self.assertEqual(verdict(forward, message(lines, subject="orders.delete"), self.trust), "misdirected")
        # JetStream delivers with the subject of the stored message, to any subject that is asked for.
        msg = message(lines, subject="orders.show")
        msg.reply = "$JS.ACK.ALL.C.1.1.1.1.0"
        request = types.SimpleNamespace(_msg=msg, subject=msg.subject, headers=msg.headers, data=msg.data)
        for delivered in (msg, request):
            self.assertEqual(verdict(identify, delivered, self.trust), "misdirected")
            self.assertEqual(identify(delivered, self.trust.for_subjects("orders.show")).user, "alice")

    def test_request_without_its_message(self):
        """If a version of nats-py keeps the message of a request elsewhere, nobody sees how it arrived. It may be one that JetStream delivers."""
        msg = message(self.server.stamp({"X-User": ["alice"]}, "orders.show"), subject="orders.show")
        request = types.SimpleNamespace(subject=msg.subject, headers=msg.headers, data=msg.data, respond=lambda data: None)
        self.assertEqual(verdict(identify, request, self.trust), "misdirected")
        self.assertEqual(identify(request, self.trust.for_subjects("orders.show")).user, "alice")

    @needs_nats
    def test_real_messages(self):
        """The classes of nats-py have what the adapter reads of them."""
        lines = self.server.stamp({"X-User": ["alice"]}, "orders.show", b"{}")
        client = type("Client", (KeepsLines, NATS), {})
        block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
        headers = asyncio.run(client()._process_headers(block.encode()))
        self.assertEqual(headers.lines, lines)
        plain = asyncio.run(NATS()._process_headers(block.encode()))

        def of(cls, reply, headers):
            msg = nats.aio.msg.Msg(None, "orders.show", reply, b"{}", headers)
            return msg if cls is None else cls(msg)

        for cls in (None, nats.micro.request.Request):
            for read in (headers, plain):
                self.assertEqual(identify(of(cls, "_INBOX.1", read), self.trust).user, "alice")
                self.assertEqual(identify(of(cls, "", read), self.trust).user, "alice")
                delivered = of(cls, "$JS.ACK.ALL.C.1.1.1.1.0", read)
                self.assertEqual(verdict(identify, delivered, self.trust), "misdirected")
                self.assertEqual(identify(delivered, self.trust.for_subjects("orders.*")).user, "alice")
        # What a service reads from a stream itself is not delivered to a handler.
        self.assertEqual(identify(RawStreamMsg(subject="orders.show", data=b"{}", headers=headers), self.trust).user, "alice")

    def test_for_subjects(self):
        """A handler that says its subjects takes what arrives on another one."""
        lines = self.server.stamp({"X-User": ["alice"]}, "orders.show")
        self.assertEqual(identify(message(lines, subject="svc.show"), self.trust.for_subjects("a", "orders.*")).user, "alice")
        self.assertEqual(verdict(identify, message(lines, subject="svc.show"), self.trust.for_subjects("orders.delete")), "misdirected")
        self.assertEqual(verdict(identify, message(lines, subject="svc.show"), self.trust.for_subjects("orders.*").for_subjects("orders.delete")), "misdirected")
        self.assertEqual(identify(message(lines, subject="svc.show"), self.trust.for_subjects("orders.delete").for_subjects("orders.*")).user, "alice")
        for bad in ((), ("",), ("a..b",), ("a b",), (">.a",), ("a\ud800",), (None,), (5,), (["a"],)):
            with self.assertRaises((TypeError, ValueError), msg=bad):
                self.trust.for_subjects(*bad)
        with self.assertRaisesRegex(ValueError, "accounts"):
            self.plain.for_subjects("a")

    def test_what_is_lost(self):
        """A dict loses repeated values, so a message with a proof is refused."""
        two = self.server.stamp({"X-User": ["alice"], "Roles": ["admin", "ops"]}, "orders.new")
        self.assertEqual(identify(message(two), self.trust).values["Roles"], ["admin", "ops"])
        self.assertEqual(verdict(identify, message(two, client=nats_client.Client), self.trust), "proof-wrong")
        forged = [("X-User", "bob"), *two]
        self.assertEqual(verdict(identify, message(forged), self.trust), "proof-wrong")

    def test_without_proof(self):
        for lines in ([("X-User", "bob"), ("X-User", "alice")], [("X-User", "alice"), ("X-Us er", "bob")], [("X-User", "alice"), ("X-User ", "bob")], [("X-User", "alice"), ("\u00e9X-User", "bob")]):
            self.assertEqual(verdict(identify, message(lines), self.plain), "field-twice", lines)
            with self.assertRaisesRegex(ValueError, "KeepsLines"):
                identify(message(lines, client=nats_client.Client), self.plain)
        self.assertEqual(identify(message([("X-User", "alice"), ("Roles", "a"), ("Roles", "b")]), self.plain).values["Roles"], ["a", "b"])
        for client in (Client, nats_client.Client):
            self.assertEqual(verdict(identify, nats_client.Msg(None, "orders.new", headers=None), self.plain), "anonymous")

    def test_lines(self):
        for block, lines in (
            (b"NATS/1.0\r\nA: b\r\nA:\t c \r\n\r\n", [("A", "b"), ("A", "c ")]),
            (b"NATS/1.0 503\r\n\r\n", []),
            (b"NATS/1.0 100 Idle Heartbeat\r\nA: b\r\n\r\n", [("A", "b")]),
            (b"NATS/1.0\r\nA: b\nA: c\r\n\r\n", []),
            (b"NATS/1.0\r\nA: b\rX-User: alice\r\n\r\n", []),
            (b"NATS/1.0\r\nA: \xff\r\n\r\n", [("A", "\udcff")]),
            (b"NATS/1.0\r\nA: b\r\n\r\nC: d\r\n\r\n", []),
            (b"NATS/1.0\r\nA: b\r\nno colon\r\n\r\n", []),
            (b"NATS/1.0\r\nA: b\r\n", []),
            (b"A: b\r\n\r\n", []),
            (b"", []),
        ):
            self.assertEqual(_lines_of(block), lines, block)

    def test_hostile_blocks(self):
        """For all bytes of a header block the receiver gives an identity or raises Anonymous."""
        rng = random.Random(20260301)
        proven = "".join(f"{name}: {value}\r\n" for name, value in self.server.stamp({"X-User": ["alice"]}, "orders.new")).encode()
        pieces = [b"NATS/1.0", b"\r\n", b"\r", b"\n", b":", b" ", b"\x00", b"\xff", b"\xed\xa0\x80", b"X-User: alice\r\n", b"Stamp-Proof: AQ\r\n", proven]
        verdicts = set()
        for number in range(10_000):
            block = b"".join(rng.choices(pieces, k=rng.randrange(6)))
            if number % 2:
                block = b"NATS/1.0\r\n" + block + b"\r\n"
            msg = nats_client.Msg(None, "orders.new", headers=Headers({}, _lines_of(block)))
            for trust in (self.trust, self.plain):
                with self.subTest(block):
                    verdicts.add(verdict(identify, msg, trust))
        self.assertLessEqual({"ok", "anonymous", "field-twice", "proof-malformed"}, verdicts)

    def test_client_is_as_before(self):
        lines = [("A", "b"), ("A", "c")]
        self.assertEqual(message(lines).headers, message(lines, client=nats_client.Client).headers)
        self.assertIsInstance(message(lines).headers, Headers)
        self.assertIsNone(asyncio.run(Client()._process_headers(b"")))

    def test_handler(self):
        taken, refused = [], []

        async def nobody(err, msg):
            refused.append((err.verdict, msg.subject))

        @receives(self.trust, nobody)
        async def handler(identity, msg):
            taken.append((identity.user, msg.data))

        @receives(self.trust)
        async def logs(identity, msg):
            taken.append(identity.user)

        asyncio.run(handler(message(self.server.stamp({"X-User": ["alice"]}, "orders.new", b"{}"), b"{}")))
        asyncio.run(handler(message([("X-User", "secret")])))
        self.assertEqual((taken, refused), ([("alice", b"{}")], [("anonymous", "orders.new")]))
        with self.assertLogs("stamp_receiver.nats", "WARNING") as logged:
            asyncio.run(logs(message([("X-User", "secret")])))
        self.assertEqual(logged.output, ["WARNING:stamp_receiver.nats:orders.new: a message of nobody is left out: anonymous"])


@contextlib.contextmanager
def running(keys):
    """Starts a server with these keys. Returns its port."""
    with tempfile.TemporaryDirectory() as folder:
        file, conf = pathlib.Path(folder, "proof.nk"), pathlib.Path(folder, "server.conf")
        file.touch(0o600)
        file.write_text("\n".join(keys.seeds))
        conf.write_text(CONFIGURATION.format(file=json.dumps(str(file)), receiver=json.dumps(keys.receiver)), encoding="utf-8")
        process = subprocess.Popen([SERVER, "-c", conf], stderr=subprocess.PIPE, text=True)
        try:
            log = ""
            while "Server is ready" not in log:
                line = process.stderr.readline()
                if not line:
                    raise AssertionError(f"the server has not started: {log}")
                log += line
            yield int(re.search(r"client connections on 127\.0\.0\.1:(\d+)", log)[1])
        finally:
            process.terminate()
            process.communicate()


class Example(unittest.TestCase):
    def test_services(self):
        async def connected(port, user):
            client = Client()
            await client.connect("127.0.0.1", port, user)
            return client

        self.serves(connected)

    @needs_nats
    def test_services_with_nats_py(self):
        async def connected(port, user):
            client = type("Client", (KeepsLines, NATS), {})()
            await client.connect(f"nats://{user}:{user}@127.0.0.1:{port}")
            return client

        self.serves(connected)

    def serves(self, connected):
        if not SERVER.exists():
            if os.environ.get("STAMP_TEST_ALL"):
                self.fail("bin/nats-server is missing: make it with scripts/build")
            self.skipTest("bin/nats-server is missing: scripts/build makes it")
        keys = Server()
        with running(keys) as port:
            asyncio.run(self.services(port, keys, connected))

    async def services(self, port, keys, connected):
        trust = Trust.from_json({
            "user": "X-User", "one": ["Session"], "many": ["Roles"], "accounts": {"APP": ["orders.>", "stock.>"]}, "max_age": 3600,
            "servers": keys.servers, "keys": keys.keys,
        })  # fmt: skip
        clients = {user: await connected(port, user) for user in ("alice", "orders", "plain")}
        try:
            await service.serve(clients["orders"], trust)
            answer = await clients["alice"].request("orders.new", b"2 apples", headers={"X-User": "bob", "Stamp-Proof": "AQ"})
            self.assertEqual(answer.data.decode(), "thank you, alice: orders takes 2 apples for alice (admin, ops), who asked on orders.new")
            # A request of nobody, and a request on behalf of nobody.
            answer = await clients["plain"].request("orders.new", b"2 apples", headers={"X-User": "alice"})
            self.assertEqual((answer.data, answer.headers["Nats-Service-Error-Code"]), (b"", "401"))
            answer = await clients["alice"].request("stock.take", b"2 apples")
            self.assertEqual((answer.data, answer.headers["Nats-Service-Error"]), (b"", "anonymous"))
            # Alice's message, published again by another user to another service.
            heard = asyncio.get_running_loop().create_future()

            async def hear(msg):
                if not heard.done():
                    heard.set_result(msg)

            await clients["plain"].subscribe("orders.new", cb=hear)
            await clients["plain"].flush()
            await clients["alice"].request("orders.new", b"2 apples")
            msg = await heard
            self.assertEqual(identify(msg, trust).value("Session"), "0af3 Gr\u00fc\u00dfe \u2713")
            forged = nats_client.Msg(None, "orders.new", headers=Headers(msg.headers, [(name, "orders.old" if name == "Stamp-Subject" else value) for name, value in msg.headers.lines]), data=msg.data)
            self.assertEqual(verdict(identify, forged, trust), "proof-wrong")
        finally:
            for client in clients.values():
                await client.close()


if __name__ == "__main__":
    unittest.main()
