"""A client of the websocket."""

import contextlib
import json

import anyio
from websockets.asyncio.client import connect


class Talk:
    """A websocket and the frames on it."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, **fields):
        await self.socket.send(json.dumps(fields))

    async def hear(self):
        return json.loads(await anyio_wait(self.socket.recv()))

    async def answer(self, **fields):
        await self.say(**fields)
        return await self.hear()

    async def search(self, id_, query, **fields):
        """(hits, the frame that ended it)"""
        await self.say(type="search", id=id_, query=query, **fields)
        hits = []
        while (frame := await self.hear())["type"] == "hit":
            hits.append(frame["hit"])
        return hits, frame


async def anyio_wait(awaitable):
    with anyio.fail_after(10):
        return await awaitable


@contextlib.asynccontextmanager
async def talk(it, *, token=True, headers=None, **options):
    headers = dict(headers or {})
    if token:
        headers["Authorization"] = f"Bearer {it.token if token is True else token}"
    url = it.url.replace("http", "ws", 1) + "/ws"
    async with connect(url, additional_headers=headers, proxy=None, **options) as socket:
        yield Talk(socket)


@contextlib.asynccontextmanager
async def greeted(it, **options):
    async with talk(it, **options) as client:
        assert (await client.hear())["type"] == "hello"
        yield client
