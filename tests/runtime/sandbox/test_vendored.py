"""Packages that a plugin brought along are imported in its sandbox, from memory."""

from outlet import package
from outlet.manifest import Manifest, PythonPackage, RouteDeclaration, encode
from outlet.package import Package
from tests.runtime.sandbox.conftest import StartPool
from tests.runtime.sandbox.plugins import HEAD, Caller

CODE = """
import slugs
@plugin.route("GET", "/slug")
async def slug(api, request):
    return {"slug": slugs.made, "from": slugs.__spec__.origin}
"""


async def test_a_vendored_module_is_imported_behind_the_walls(
    start_pool: StartPool, packages: dict[str, Package]
) -> None:
    manifest = Manifest(
        plugin_id="probe",
        name="P",
        version="1.0.0",
        author="T",
        description="D",
        entry="probe:plugin",
        routes=(RouteDeclaration(method="GET", path="/slug"),),
        python=(PythonPackage(name="slugs", version="1.0", sha256="0" * 64),),
    )
    files = {
        "manifest.json": encode(manifest),
        "probe/__init__.py": (HEAD + CODE).encode(),
        "slugs/__init__.py": b"import words\nmade = words.word.upper()\n",
        "words.py": b"word = 'tea'\n",
    }
    built = package.open_package(package._zip(files))
    packages[built.digest] = built
    answer = await Caller(start_pool(), built).route("GET", "/slug")
    assert (answer.status, answer.body) == (200, b'{"slug":"TEA","from":"slugs/__init__.py"}')
