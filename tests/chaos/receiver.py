"""The server outside that the calling plugin tells of sales; it remembers under which keys it was told."""

import json
import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.runtime.outbound.receiver import Received, answer, receiving


@dataclass
class Told:
    """Requests by event id and ``Idempotency-Key``: a key that comes again repeats, another is a second call."""

    keys: "defaultdict[str, Counter[str]]" = field(default_factory=lambda: defaultdict(Counter))
    port: int = 0

    @property
    def repeated(self) -> int:
        """Requests that the receiver could recognise as repetitions."""
        return sum(count - 1 for keys in self.keys.values() for count in keys.values())

    def take(self, received: Received) -> bytes:
        """Answer one request by the key it came with."""
        key = received.headers.get("idempotency-key", "")
        self.keys[json.loads(received.body)["event"]][key] += 1
        return answer(body=key.encode())


@asynccontextmanager
async def listening(tls: ssl.SSLContext) -> AsyncIterator[Told]:
    """A receiver on a loopback port, by https, for as long as the block runs."""
    async with receiving(tls) as receiver:
        told = Told(port=receiver.port)
        receiver.answer = told.take
        yield told
