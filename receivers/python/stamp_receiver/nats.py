"""Messages of nats-py: those of a subscription or a consumer, requests to a micro service, and what get_msg reads from a stream.

    from stamp_receiver.nats import receives

    @receives(trust)
    async def order(identity, msg):
        await nc.publish(msg.reply, f"thank you, {identity.user}".encode())

    await nc.subscribe("orders.new", cb=order)

nats-py gives headers as a dict of str to str (2.15.0 and before), and so it loses

- all values of a name but one, which is the last;
- lines whose name has white space in it or is not ASCII, and the white space around names and values;
- the order of the lines, and bytes that are not UTF-8. Older versions, 2.9.1 for example, lose all headers if a value is not ASCII.

With a proof nothing worse can happen than that a good message is refused: what was lost or changed is not what was proven. So a
message with two roles is proof-wrong. Without a proof the dict hides a second user, so this module refuses to judge it. Both
have one remedy, a client that keeps the lines:

    from nats.aio.client import Client as NATS
    from stamp_receiver.nats import KeepsLines

    class Client(KeepsLines, NATS):
        pass

    nc = Client()
    await nc.connect("nats://127.0.0.1:4222")

msg.respond of nats-py sends the headers of the request back; nc.publish(msg.reply, ...) does not.
"""

import functools
import logging
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Protocol, Tuple, TypeVar

from . import _identify
from ._errors import Anonymous
from ._identify import Identity
from ._proof import FORWARDED
from ._trust import Trust

__all__ = ["FORWARDED", "Headers", "KeepsLines", "Message", "forward", "forwarded", "identify", "receives"]

_log = logging.getLogger(__name__)


class Message(Protocol):
    """What is used of nats-py's Msg, Request and RawStreamMsg."""

    @property
    def subject(self) -> Optional[str]: ...

    @property
    def data(self) -> Optional[bytes]: ...

    @property
    def headers(self) -> Optional[Mapping[str, str]]: ...


M = TypeVar("M", bound=Message)


class Headers(Dict[str, str]):
    """The headers of a message as nats-py reads them, and its lines."""

    def __init__(self, parsed: Mapping[str, str], lines: List[Tuple[str, str]]) -> None:
        super().__init__(parsed)
        self.lines = lines


class KeepsLines:
    """Makes a client of nats-py keep the lines of headers: class Client(KeepsLines, nats.aio.client.Client).

    It overrides a method that nats-py calls for the header block of each message. If a later version has it no more, the headers are
    plain again, and are treated as such.
    """

    async def _process_headers(self, headers: Optional[bytes]) -> Optional[Dict[str, str]]:
        parsed: Optional[Dict[str, str]] = await super()._process_headers(headers)  # type: ignore[misc]
        return Headers(parsed or {}, _lines_of(bytes(headers))) if headers else parsed


def identify(msg: Message, trust: Trust, now: Optional[int] = None) -> Identity:
    """Says who has sent a message, as stamp_receiver.identify does.

    A message that was published on another subject than that on which it arrived is refused, unless the trust is one of for_subjects. So
    is each that JetStream delivers, since its subject is that of the stored message.
    """
    return _identify.identify(_headers_of(msg, trust), msg.data or b"", trust, now, _arrived_on(msg))


def forwarded(msg: Message, trust: Trust, now: Optional[int] = None) -> Identity:
    """Says who had sent the message of which somebody passes on the proof."""
    return _identify.forwarded(_headers_of(msg, trust), trust, now)


def forward(msg: Message, trust: Trust, now: Optional[int] = None) -> Dict[str, str]:
    """Returns the headers with which a service passes on the proof of a message in a request on behalf of its sender."""
    return {FORWARDED: _identify.forward(_headers_of(msg, trust), msg.data or b"", trust, now, _arrived_on(msg))}


def receives(
    trust: Trust, nobody: Optional[Callable[[Anonymous, M], Awaitable[None]]] = None
) -> Callable[[Callable[[Identity, M], Awaitable[None]]], Callable[[M], Awaitable[None]]]:
    """Makes a function of an identity and a message into a handler of messages. It is not called for messages of nobody.

    For these nobody is called. Without it, they are logged: a message of a stream is not acknowledged, and a request not answered.
    """

    def decorate(handle: Callable[[Identity, M], Awaitable[None]]) -> Callable[[M], Awaitable[None]]:
        @functools.wraps(handle)
        async def handler(msg: M) -> None:
            try:
                identity = identify(msg, trust)
            except Anonymous as err:
                await (nobody or _logs)(err, msg)
                return
            await handle(identity, msg)

        return handler

    return decorate


async def _logs(err: Anonymous, msg: Message) -> None:
    _log.warning("%s: a message of nobody is left out: %s", msg.subject, err.verdict)


def _arrived_on(msg: Message) -> str:
    """The subject on which a message arrived.

    A message that JetStream delivers has the subject on which it was stored, and not that of the subscription: whoever may ask for messages of
    a stream can have one delivered to any handler. nats-py does not tell such a message from one of a consumer. So it arrived on no subject, and
    only a handler with a trust of for_subjects takes it. The same holds for a request of which a later version hides the reply.
    """
    received = msg if hasattr(msg, "reply") else getattr(msg, "_msg", msg)  # a Request of a micro service has its message there
    if not hasattr(received, "reply") and hasattr(msg, "respond"):
        return ""
    reply = getattr(received, "reply", None)  # what get_msg reads from a stream has none
    return "" if reply and reply.startswith("$JS.ACK.") else msg.subject or ""


def _headers_of(msg: Message, trust: Trust) -> List[Tuple[str, str]]:
    headers: Any = msg.headers
    if not isinstance(headers, dict):
        return []
    if isinstance(headers, Headers):
        return headers.lines
    if not trust.wants_proof:
        raise ValueError("nats-py does not show whether a header is there twice: use a client with KeepsLines, or servers in the trust")
    # Where nats-py reads headers as those of mail, a value may be an object.
    return [(str(name), str(value)) for name, value in headers.items()]


def _lines_of(block: bytes) -> List[Tuple[str, str]]:
    """The lines of a header block. One that is malformed has none, and so is nobody's.

    A CR or LF alone is malformed: some clients take it for the end of a line.
    """
    first, *rest = block.split(b"\r\n")
    if not first.startswith(b"NATS/1.0") or rest[-2:] != [b"", b""] or b"" in rest[:-2]:
        return []
    lines = []
    for line in rest[:-2]:
        name, colon, value = line.partition(b":")
        if not colon or b"\r" in line or b"\n" in line:
            return []
        lines.append((_text(name), _text(value.lstrip(b" \t"))))
    return lines


def _text(data: bytes) -> str:
    """Bytes that are not UTF-8 become lone surrogates: no proof covers them, and no two values become one."""
    return data.decode("utf-8", "surrogateescape")
