"""Other processes, and more of its own."""

from tests.attacks.attack import Attack, host_harmed, on_grounds, peak

MANY = 48
"""Processes, or threads, that no plugin needs."""

PROCESSES = [
    Attack(
        "kill a process", "signals", "os.kill(t['decoy'], signal.SIGKILL)", on_grounds(lambda host: host.decoy_harmed())
    ),
    Attack(
        "stop a process", "signals", "os.kill(t['decoy'], signal.SIGSTOP)", on_grounds(lambda host: host.decoy_harmed())
    ),
    Attack(
        "kill a process by its descriptor",
        "signals",
        "syscall('pidfd_send_signal', syscall('pidfd_open', t['decoy'], 0), 9, None, 0)",
        on_grounds(lambda host: host.decoy_harmed()),
    ),
    Attack(
        "have the kernel kill a process (F_SETOWN)",
        "signals",
        """
        def aim(descriptor):
            fcntl.fcntl(descriptor, 8, t["decoy"])
            fcntl.fcntl(descriptor, 10, signal.SIGKILL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_ASYNC)

        reading, writing = os.pipe()
        aim(reading)
        os.write(writing, b"x")
        """,
        on_grounds(lambda host: host.decoy_harmed()),
    ),
    Attack(
        "have the kernel kill a process through the host's own socket",
        "signals",
        """
        fcntl.fcntl(3, 8, t["decoy"])
        fcntl.fcntl(3, 10, signal.SIGKILL)
        fcntl.fcntl(3, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        await asyncio.sleep(0.5)
        """,
        on_grounds(lambda host: host.decoy_harmed()),
        follow_up=1_000,
    ),
    Attack("kill its parent", "signals", "os.kill(os.getppid(), signal.SIGKILL)\nawait asyncio.sleep(1)", host_harmed),
    Attack("stop its parent", "signals", "os.kill(os.getppid(), signal.SIGSTOP)\nawait asyncio.sleep(1)", host_harmed),
    Attack(
        "limit a process's open files (prlimit)",
        "signals",
        "resource.prlimit(t['decoy'], resource.RLIMIT_NOFILE, (16, 16))",
        on_grounds(lambda host: host.decoy_limited()),
    ),
    Attack(
        "take a process's turn (setpriority)",
        "signals",
        "os.setpriority(os.PRIO_PROCESS, t['decoy'], 19)",
        on_grounds(lambda host: host.decoy_slowed()),
    ),
    Attack(
        "run a program in its place",
        "programs",
        "os.execv('/bin/sh', ['sh', '-c', f\"echo here > {t['loot']}\"])",
        on_grounds(lambda host: host.loot_bytes() > 0),
    ),
    Attack(
        "run a program beside it",
        "programs",
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', f\"echo here > {t['loot']}\"])",
        on_grounds(lambda host: host.loot_bytes() > 0),
    ),
    Attack(
        "run a program (posix_spawn)",
        "programs",
        "os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', f\"echo here > {t['loot']}\"], {}), 0)",
        on_grounds(lambda host: host.loot_bytes() > 0),
    ),
    Attack(
        "run a program from memory",
        "programs",
        """
        program = syscall("memfd_create", b"program", 0)
        os.write(program, f"#!/bin/sh\\necho here > {t['loot']}\\n".encode())
        if os.fork() == 0:
            os.execve(program, ["program"], {})
        os.wait()
        """,
        on_grounds(lambda host: host.loot_bytes() > 0),
    ),
    Attack(
        "fork bomb",
        "bombs",
        """
        for _ in range(100):
            if os.fork() == 0:
                time.sleep(5)
                os._exit(0)
        await asyncio.sleep(0.3)
        """,
        peak(lambda most: most.processes >= MANY),
    ),
    Attack(
        "fork bomb (clone3)",
        "bombs",
        """
        class Arguments(ctypes.Structure):
            _fields_ = [(name, ctypes.c_uint64) for name in
                        ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls")]
        for _ in range(100):
            if syscall("clone3", ctypes.byref(Arguments(exit_signal=17)), 64) == 0:
                time.sleep(5)
                os._exit(0)
        await asyncio.sleep(0.3)
        """,
        peak(lambda most: most.processes >= MANY),
    ),
    Attack(
        "thread bomb",
        "bombs",
        """
        import threading
        for _ in range(200):
            threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
        await asyncio.sleep(0.3)
        """,
        peak(lambda most: most.threads >= MANY),
    ),
    Attack(
        "outlive the host",
        "programs",
        """
        libc.prctl(1, 0)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 65):
                    if number not in (9, 19, 32, 33):
                        signal.signal(number, signal.SIG_IGN)
                time.sleep(20)
            os._exit(0)
        os.wait()
        """,
        lambda seen: seen.lingering > 0,
    ),
]
