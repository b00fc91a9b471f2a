"""Two services. `orders` takes orders of users. For each it asks `stock` on behalf of the user, and passes on the proof of the
user's request. So stock knows which service asks now, and for which user.

python3 service.py --server nats://orders:PASSWORD@127.0.0.1:4222 --trust trust.json

Needs the packages nats-py and stamp-receiver.
"""

import argparse
import asyncio
from typing import Any

from stamp_receiver import Anonymous, Identity, Trust
from stamp_receiver.nats import KeepsLines, forward, forwarded, receives


async def serve(nc: Any, trust: Trust) -> None:
    """Starts both services on a connection of nats-py."""

    async def refuse(nobody: Anonymous, msg: Any) -> None:
        """Answers as a micro service answers an error."""
        if msg.reply and not msg.reply.startswith("$JS.ACK."):  # that would acknowledge it
            await nc.publish(msg.reply, headers={"Nats-Service-Error": nobody.verdict, "Nats-Service-Error-Code": "401"})

    async def answer(msg: Any, text: str) -> None:
        if msg.reply:
            await nc.publish(msg.reply, text.encode())

    @receives(trust, refuse)
    async def order(identity: Identity, msg: Any) -> None:
        try:
            headers = forward(msg, trust)
        except Anonymous as nobody:
            return await refuse(nobody, msg)
        reply = await nc.request("stock.take", msg.data, headers=headers)
        await answer(msg, f"thank you, {identity.user}: {reply.data.decode()}")

    @receives(trust, refuse)
    async def take(service: Identity, msg: Any) -> None:
        try:
            user = forwarded(msg, trust)
        except Anonymous as nobody:
            return await refuse(nobody, msg)
        roles = ", ".join(user.values.get("Roles", ()))
        await answer(msg, f"{service.user} takes {msg.data.decode()} for {user.user} ({roles}), who asked on {user.subject}")

    await nc.subscribe("orders.new", cb=order)
    await nc.subscribe("stock.take", cb=take)
    await nc.flush()


async def main() -> None:
    from nats.aio.client import Client as NATS

    class Client(KeepsLines, NATS):
        """A message has more than one of Roles."""

    parser = argparse.ArgumentParser(description="Services orders and stock")
    parser.add_argument("--server", default="nats://127.0.0.1:4222")
    parser.add_argument("--trust", default="trust.json", help="file with what the services trust: see docs/proofs.md")
    options = parser.parse_args()
    with open(options.trust, encoding="utf-8") as file:
        trust = Trust.from_json(file.read())
    nc = Client()
    await nc.connect(options.server)
    await serve(nc, trust)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
