from tests.registry.platform import Client, Registry
from tests.registry.worker import FakeWorker


async def test_answers_its_probes(registry: Registry) -> None:
    assert (await registry.http.get("/health/live")).status_code == 200
    ready = await registry.http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["checks"] == {"database": True, "background": True}


async def test_installation_lives_from_install_to_uninstall(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    installed = await owner.install(plugin_id)
    assert installed["status"] == "inactive"
    path = f"/{installed['id']}"
    assert (await owner.post(f"{path}/activate")).json()["status"] == "active"
    assert (await owner.post(f"{path}/deactivate")).json()["status"] == "inactive"
    assert (await owner.delete(path)).status_code == 204
    assert (await owner.get(path)).status_code == 404
    assert worker.hooks == ["ON_INSTALL", "ON_ACTIVATE", "ON_DEACTIVATE", "ON_UNINSTALL"]
