"""The peer of a guest: a fresh interpreter that imports what a guest has, loads the plugin and stays.

Run as ``python -m bench.contenders.fresh_interpreter FOLDER``; it writes ``ready`` and waits for the end of its input.
"""

import sys


def main(folder: str) -> None:
    sys.path.insert(0, folder)
    import outlet._guest.main  # noqa: F401  what serves a plugin
    from outlet._load import load_entry

    load_entry("bench_plugin:plugin")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
