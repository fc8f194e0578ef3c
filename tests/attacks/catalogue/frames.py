"""Frames made to hurt whoever reads them. The plugin writes them to its connection, descriptor 3."""

from tests.attacks.attack import Attack, host_grew, host_harmed, told

WAIT = "\nawait asyncio.sleep(60)"

FRAMES = [
    Attack("announce a huge frame", "frames", "send(b'\\x7f\\xff\\xff\\xff')" + WAIT, host_harmed),
    Attack(
        "send a huge frame",
        "frames",
        """
        send((400 * 2**20).to_bytes(4, "big"))
        for _ in range(400):
            send(bytes(2**20))
        await asyncio.sleep(60)
        """,
        host_grew(256),
    ),
    Attack("send garbage", "frames", "send(os.urandom(2**20))" + WAIT, host_harmed),
    Attack("send a frame of garbage", "frames", "frame(b'\\xc1garbage')" + WAIT, host_harmed),
    Attack("send deep nesting", "frames", "frame(b'\\x91' * 200_000)" + WAIT, host_harmed),
    Attack(
        "send millions of empty arrays",
        "frames",
        "frame(b'\\xdd' + (8 * 2**20).to_bytes(4, 'big') + b'\\x90' * 8 * 2**20)" + WAIT,
        host_grew(256),
    ),
    Attack(
        "send as many empty arrays as a frame may hold, again and again",
        "frames",
        """
        body = b"\\x92\\x0d\\xdd" + (200_000).to_bytes(4, "big") + b"\\x90" * 200_000
        while True:
            frame(body)
        """,
        host_harmed,
    ),
    Attack(
        "send empty frames without end",
        "frames",
        """
        many = b"\\x00\\x00\\x00\\x03\\x92\\x0d\\x90" * 10_000
        while True:
            send(many)
        """,
        host_harmed,
    ),
    Attack(
        "send one byte at a time (slow loris)",
        "frames",
        """
        send((200_000).to_bytes(4, "big"))
        while True:
            send(b"\\x00")
            time.sleep(0.1)
        """,
        host_harmed,
    ),
    Attack("never read", "frames", "time.sleep(60)", host_harmed, follow_up=4_000_000),
    Attack(
        "answer in another's name",
        "frames",
        """
        from outlet import _frames
        forged = [_frames.Result(number, b"forged") for number in range(2, 200)]
        send(_frames.pack(_frames.Results(forged)))
        """,
        lambda seen: seen.neighbour_answer == "forged",
    ),
    Attack(
        "answer twice",
        "frames",
        """
        from outlet import _frames, _calls
        import msgspec
        answer = msgspec.msgpack.encode(_calls.RouteResult(200, [], b'{"evidence": 1}'))
        send(_frames.pack(_frames.Results([_frames.Result(1, answer), _frames.Result(1, answer)])))
        await asyncio.sleep(60)
        """,
        host_harmed,
    ),
    Attack(
        "ask the host again and again, each time with many empty arrays",
        "frames",
        """
        from outlet import _frames
        arguments = b"\\x81\\xa1a\\xdd" + (230_000).to_bytes(4, "big") + b"\\x90" * 230_000
        while True:
            send(_frames.pack(_frames.Calls([_frames.ApiCall(1, 1, "tables.find", arguments)])))
        """,
        host_harmed,
    ),
    Attack(
        "tell the host again and again, each time with many empty mappings",
        "frames",
        """
        from outlet import _frames
        arguments = b"\\x81\\xa1a\\xdd" + (230_000).to_bytes(4, "big") + b"\\x80" * 230_000
        while True:
            send(_frames.pack(_frames.Calls([_frames.ApiCall(0, 1, "log", arguments)])))
        """,
        host_harmed,
    ),
    Attack(
        "answer with a million empty headers",
        "frames",
        """
        from outlet import _frames
        count = 1_380_000
        answer = b"\\x94\\xcc\\xc8\\xdd" + count.to_bytes(4, "big") + b"\\x92\\xa0\\xa0" * count + b"\\xc4\\x00\\xc2"
        ahead, last = _frames.pack_parts(1, answer)
        send(ahead + _frames.pack(_frames.Results([_frames.Result(1, last)])))
        await asyncio.sleep(60)
        """,
        host_grew(64),
    ),
    Attack("half close", "frames", "socket.socket(fileno=3).shutdown(socket.SHUT_WR)" + WAIT, host_harmed),
    Attack("hang up within a frame", "frames", "send(b'\\x00\\x00\\x00\\x64abc')\nos._exit(0)", host_harmed),
    Attack(
        "receive a descriptor that the host lets slip",
        "frames",
        """
        connection = socket.socket(fileno=3)
        connection.setblocking(True)
        connection.settimeout(1)
        try:
            _, descriptors, _, _ = socket.recv_fds(connection, 65536, 16)
            return os.pread(descriptors[0], 100, 0).decode()
        except PermissionError:
            connection.setblocking(False)
        finally:
            connection.detach()
        found = []
        for number in range(4, 64):
            await asyncio.sleep(0.01)  # so that what runs the plugin reads on: perhaps it takes what comes
            try:
                os.lseek(number, 0, 0)
                found.append(os.read(number, 100).decode())
            except OSError:
                continue
        return found
        """,
        told("descriptor"),
        gift=True,
    ),
    Attack(
        "pass descriptors to the host",
        "frames",
        """
        connection = socket.socket(fileno=3)
        connection.setblocking(True)
        for _ in range(8):
            socket.send_fds(connection, [b"\\x00\\x00\\x00\\x03\\x92\\x0d\\x90"], [3] * 200)
        connection.detach()
        await asyncio.sleep(0.2)
        """,
        lambda seen: seen.host_descriptors >= 200,
    ),
]
