"""The permissions that a manifest declares, against those that the code uses.

What the code uses is seen where it is written plainly: ``api.models.Sale.find(...)``, ``api.notify(...)``,
``api.fetch(...)``, ``api.call("other-plugin", ...)``. Code that goes by a name of its own is not seen to use anything,
so a permission that seems unused is a warning; one that is used and not declared could never work.
"""

import ast
from collections.abc import Iterator, Mapping

from outlet.manifest import MODELS, Manifest
from services.registry.submissions.checks.finding import Finding

VERBS = {
    **dict.fromkeys(("find", "find_one", "find_by_id", "aggregate"), "read"),
    **{verb: verb for verb in ("create", "update", "delete")},
}
MANIFEST = "manifest.json"
Uses = dict[str, tuple[str, int]]
"""Grants by name, with the file and line of a use."""


def check(manifest: Manifest, trees: Mapping[str, ast.Module]) -> Iterator[Finding]:
    """Permissions that are used and not declared, and that are declared and not seen to be used."""
    used: Uses = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for grant in _grants(node):
                    used.setdefault(grant, (path, node.lineno))
    declared = {permission.name for permission in manifest.permissions}
    declared |= {f"call:{call.plugin_id}" for call in manifest.calls} | ({"fetch"} if manifest.hosts else set())
    for grant in sorted(used.keys() - declared):
        path, line = used[grant]
        yield Finding("permission_undeclared", "error", path, line, f"uses {_called(grant)}, which is not declared")
    for grant in sorted(declared - used.keys() - _not_seen(manifest)):
        yield Finding(
            "permission_unused", "warning", MANIFEST, None, f"declares {_called(grant)} and is not seen to use it"
        )


def _grants(call: ast.Call) -> Iterator[str]:
    match call.func:
        case ast.Attribute(attr=method, value=ast.Attribute(attr=model, value=ast.Attribute(attr="models"))) if (
            method in VERBS and model.lower() in MODELS
        ):
            yield f"{model.lower()}:{VERBS[method]}"
        case ast.Attribute(attr="notify", value=ast.Name(id="api")):
            yield "notify:send"
        case ast.Attribute(attr="fetch", value=ast.Name(id="api")):
            yield "fetch"
        case ast.Attribute(attr="call", value=ast.Name(id="api")):
            if call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
                yield f"call:{call.args[0].value}"


def _not_seen(manifest: Manifest) -> set[str]:
    """What is used without a call: personal data in what is read, and the entities of events that are heard."""
    entities = {hook.event.partition(".")[0] for hook in manifest.hooks}
    return {f"{name}:read" for name in entities} | {f"{name}:personal-data" for name in MODELS}


def _called(grant: str) -> str:
    return "api.fetch (hosts)" if grant == "fetch" else grant
