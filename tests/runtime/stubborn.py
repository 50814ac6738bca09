"""An actor that would never end by itself."""

import anyio

from runtime.actor import Actor


class Stubborn(Actor):
    async def on_drain(self):
        await anyio.sleep_forever()
