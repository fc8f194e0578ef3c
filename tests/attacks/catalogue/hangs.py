"""Never giving back control, or giving it back in the worst of ways."""

from tests.attacks.attack import Attack, host_harmed

HANGS = [
    Attack("loop for ever", "hangs", "while True: pass", host_harmed),
    Attack("loop for ever in C", "hangs", "return sum(itertools.repeat(1))", host_harmed),
    Attack("loop for ever in re", "hangs", "return re.fullmatch('(a+)+', 'a' * 64 + 'b')", host_harmed),
    Attack("sleep for ever", "hangs", "time.sleep(1000)", host_harmed),
    Attack("wait for ever", "hangs", "await asyncio.Event().wait()", host_harmed),
    Attack(
        "ignore every signal",
        "hangs",
        """
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                continue
        while True:
            try:
                while True: pass
            except BaseException:
                pass
        """,
        lambda seen: not seen.host_served or seen.lingering > 0,
    ),
    Attack("stop itself (SIGSTOP)", "hangs", "os.kill(os.getpid(), signal.SIGSTOP)", host_harmed),
    Attack("crash (segmentation fault)", "hangs", "ctypes.string_at(0)", host_harmed),
    Attack("leave in the middle of a call", "hangs", "os._exit(0)", host_harmed),
    Attack(
        "burn on after its answer",
        "hangs",
        """
        async def burn():
            while True:
                sum(range(10_000_000))
        asyncio.get_running_loop().call_later(0.1, asyncio.ensure_future, burn())
        return "answered"
        """,
        lambda seen: seen.burning,
        hold=3.0,
        limits="cpuSeconds = 1.0\n",
    ),
]
