"""A zygote whose guests have no walls, to see what the walls cost. Takes the zygote's own command line.

It lives here and not in the product: nothing that is deployed can leave the walls out.
"""

import runpy
import sys
from pathlib import Path

ZYGOTE = Path(__file__).parents[2] / "services" / "runtime" / "sandbox" / "zygote.py"


def main() -> None:
    sys.path += sys.argv[sys.argv.index("--path") + 1 :]
    from outlet._guest import linux
    from outlet._guest import main as guest

    vars(guest)["confine"] = lambda granted: "D"
    vars(linux)["drop_capabilities"] = lambda: None
    runpy.run_path(str(ZYGOTE), run_name="__main__")


if __name__ == "__main__":
    main()
