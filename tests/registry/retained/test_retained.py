"""What former installations left, as the registry asks the workers for it and lets it be seen."""

import grpc
import pytest

from proto import runtime_pb2 as pb
from tests.registry.platform import Client
from tests.registry.worker import FAILS, SUCCEEDS, FakeWorker

ID = "0b9a0d0e-6c0f-4a53-8a8f-3a1d8f0b7c11"
MOMENT = "2026-02-01T10:00:00+00:00"


async def removed(owner: Client, plugin_id: str, **query: str) -> int:
    installed = await owner.install(plugin_id)
    return (await owner.delete(f"/{installed['id']}", **query)).status_code


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({}, pb.STORED_DATA_UNSPECIFIED),
        ({"data": "drop"}, pb.STORED_DATA_DROP),
        ({"data": "keep"}, pb.STORED_DATA_KEEP),
        ({"data": "export", "force": "true"}, pb.STORED_DATA_EXPORT),
    ],
)
async def test_the_worker_is_told_what_becomes_of_the_data(
    owner: Client, plugin_id: str, worker: FakeWorker, query: dict[str, str], told: int
) -> None:
    assert await removed(owner, plugin_id, **query) == 204
    assert [request.stored_data for request in worker.requests] == [pb.STORED_DATA_UNSPECIFIED, told]


async def test_a_word_that_is_none_of_them_is_refused(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    assert await removed(owner, plugin_id, data="burn") == 422
    assert worker.hooks == ["ON_INSTALL"]


async def test_a_failed_uninstallation_can_be_repeated(owner: Client, plugin_id: str, worker: FakeWorker) -> None:
    installed = await owner.install(plugin_id)
    worker.behaviour = FAILS
    assert (await owner.delete(f"/{installed['id']}", data="keep")).status_code == 502
    worker.behaviour = SUCCEEDS
    assert (await owner.delete(f"/{installed['id']}")).status_code == 204
    assert [request.stored_data for request in worker.requests[1:]] == [pb.STORED_DATA_KEEP, pb.STORED_DATA_UNSPECIFIED]


async def test_the_list_is_the_organizations_or_the_stores(owner: Client, worker: FakeWorker) -> None:
    worker.retained = [
        pb.RetainedData(
            installation_id=ID, plugin_id="loyalty", version="1.0.0", store_id="s1",
            stored_data=pb.STORED_DATA_EXPORT, retained_at=MOMENT, expires_at=MOMENT,
        )
    ]  # fmt: skip
    answered = await owner.get("/retained")
    assert answered.status_code == 200
    assert answered.json()["items"] == [
        {
            "installationId": ID,
            "pluginId": "loyalty",
            "version": "1.0.0",
            "storeId": "s1",
            "data": "export",
            "uninstalledAt": "2026-02-01T10:00:00Z",
            "expiresAt": "2026-02-01T10:00:00Z",
        }
    ]
    await owner.also("admin", store="s1").get("/retained")
    assert [(asked.organization_id, asked.store_id) for asked in worker.asked] == [
        (owner.organization, ""),
        (owner.organization, "s1"),
    ]


async def test_an_export_is_passed_on_as_it_comes(owner: Client, worker: FakeWorker) -> None:
    worker.archive = [b'{"type":"arch', b'ive"}\n', b'{"type":"end"}\n']
    answered = await owner.also("admin", store="s1").get(f"/retained/{ID}/export")
    assert (answered.status_code, answered.headers["content-type"]) == (200, "application/jsonl")
    assert answered.headers["content-disposition"] == f'attachment; filename="{ID}.jsonl"'
    assert answered.content == b"".join(worker.archive)
    (asked,) = worker.asked
    assert isinstance(asked, pb.ExportRetainedDataRequest)
    assert (asked.installation_id, asked.organization_id, asked.store_id) == (ID, owner.organization, "s1")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (grpc.StatusCode.NOT_FOUND, 404, "retained_data_not_found"),
        (grpc.StatusCode.UNAVAILABLE, 503, "no_worker"),
        (grpc.StatusCode.INTERNAL, 502, "worker_failed"),
    ],
)
async def test_an_export_that_cannot_begin_says_why(
    owner: Client, worker: FakeWorker, failure: grpc.StatusCode, status: int, code: str
) -> None:
    worker.no_archive = failure
    answered = await owner.get(f"/retained/{ID}/export")
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert (await owner.get("/audit")).json()["items"] == []


async def test_an_export_is_told_in_the_audit_log(owner: Client, worker: FakeWorker) -> None:
    worker.archive = [b"{}"]
    assert (await owner.get(f"/retained/{ID}/export")).status_code == 200
    (entry,) = (await owner.get("/audit")).json()["items"]
    assert (entry["action"], entry["about"]) == ("retained-data.export", {"installationId": ID})


@pytest.mark.parametrize("role", ["manager", "cashier"])
async def test_only_owners_and_admins_see_it(owner: Client, worker: FakeWorker, role: str) -> None:
    for path in ("/retained", f"/retained/{ID}/export"):
        assert (await owner.also(role).get(path)).status_code == 403
    assert worker.asked == []


async def test_an_id_that_is_none_is_not_found(owner: Client, worker: FakeWorker) -> None:
    assert (await owner.get("/retained/no-id/export")).status_code == 404
