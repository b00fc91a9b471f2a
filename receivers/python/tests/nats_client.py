"""A client of the NATS protocol, with the part of nats-py that the tests use."""

import asyncio
import itertools
import json
from dataclasses import dataclass
from typing import Any, Dict, Optional


@dataclass
class Msg:
    """As in nats-py 2.15.0: the same attributes in the same order."""

    _client: Any
    subject: str = ""
    reply: str = ""
    data: bytes = b""
    headers: Optional[Dict[str, str]] = None
    _metadata: Any = None
    _ackd: bool = False
    _sid: Optional[int] = None

    @property
    def header(self):
        return self.headers


class Client:
    """Reads headers as nats-py 2.15.0 does."""

    async def connect(self, host, port, user):
        self._reader, self._writer = await asyncio.open_connection(host, port)
        self._handlers, self._sids, self._tasks, self._pongs = {}, itertools.count(1), set(), []
        await self._reader.readline()
        self._send("CONNECT " + json.dumps({"user": user, "pass": user, "headers": True, "no_responders": True, "verbose": False, "lang": "python"}))
        self._loop = asyncio.ensure_future(self._read())
        await self.flush()

    async def close(self):
        for task in (self._loop, *self._tasks):
            task.cancel()
        await asyncio.gather(self._loop, *self._tasks, return_exceptions=True)
        self._writer.close()
        await self._writer.wait_closed()

    async def flush(self):
        pong = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._send("PING")
        await asyncio.wait_for(pong, 10)

    async def subscribe(self, subject, cb):
        sid = next(self._sids)
        self._handlers[sid] = cb
        self._send(f"SUB {subject} {sid}")

    async def publish(self, subject, payload=b"", reply="", headers=None):
        self.publish_block(subject, payload, reply, "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items()).encode())

    def publish_block(self, subject, payload, reply, lines):
        block = b"NATS/1.0\r\n" + lines + b"\r\n"
        self._writer.write(f"HPUB {subject} {reply} {len(block)} {len(block) + len(payload)}\r\n".encode() + block + payload + b"\r\n")

    async def request(self, subject, payload=b"", headers=None):
        answer, inbox = asyncio.get_running_loop().create_future(), f"_INBOX.{id(self)}.{next(self._sids)}"

        async def take(msg):
            answer.set_result(msg)

        await self.subscribe(inbox, take)
        await self.publish(subject, payload, inbox, headers)
        return await asyncio.wait_for(answer, 10)

    def _send(self, text):
        self._writer.write(text.encode() + b"\r\n")

    async def _read(self):
        while True:
            operation, *arguments = (await self._reader.readline()).decode().split()
            if operation == "PING":
                self._send("PONG")
            elif operation == "PONG":
                self._pongs.pop(0).set_result(None)
            elif operation in ("MSG", "HMSG"):
                await self._message(operation, arguments)
            elif operation == "-ERR":
                raise ConnectionError(" ".join(arguments))

    async def _message(self, operation, arguments):
        size = int(arguments[-1])
        head = int(arguments[-2]) if operation == "HMSG" else 0
        sid = int(arguments[1])
        reply = arguments[2] if len(arguments) == (5 if head else 4) else ""
        body = (await self._reader.readexactly(size + 2))[:-2]
        msg = Msg(self, arguments[0], reply, body[head:], await self._process_headers(body[:head]), _sid=sid)
        task = asyncio.ensure_future(self._handlers[sid](msg))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process_headers(self, headers):
        parsed = {}
        for line in headers.split(b"\r\n")[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name.isascii() or any(char.isspace() for char in name.strip().decode()):
                continue
            parsed[name.strip().decode()] = value.strip().decode("utf-8", "replace")
        return parsed or None
