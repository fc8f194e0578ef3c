"""What an author's calls of models become."""

from typing import Any

from outlet import Api, Page


class Recorder:
    """Answers every call with the next of ``answers``."""

    def __init__(self, *answers: Any) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers = iter(answers)

    async def call(self, method: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((method, arguments))
        return next(self._answers)

    def notify(self, method: str, arguments: dict[str, Any]) -> None:
        raise AssertionError((method, arguments))


async def test_a_page_is_a_list_that_says_how_to_go_on() -> None:
    recorder = Recorder({"items": [{"id": "a"}], "cursor": "next"}, {"items": [], "cursor": None})
    api = Api(recorder)
    page = await api.models.Product.find({"category": "tea"}, sort=["-price"], limit=1)
    assert (page, page.cursor) == ([{"id": "a"}], "next")
    assert isinstance(page, Page)
    assert not await api.models.Product.find({"category": "tea"}, sort=["-price"], limit=1, cursor=page.cursor)
    asked = {"model": "product", "where": {"category": "tea"}, "sort": ["-price"], "limit": 1}
    assert recorder.calls == [
        ("models.find", {**asked, "cursor": None}),
        ("models.find", {**asked, "cursor": "next"}),
    ]


async def test_find_one_is_the_first_of_a_page_or_none() -> None:
    recorder = Recorder({"items": [{"id": "a"}], "cursor": "next"}, {"items": [], "cursor": None})
    assert await Api(recorder).models.Sale.find_one({"status": "parked"}) == {"id": "a"}
    assert await Api(recorder).models.Sale.find_one() is None
    assert recorder.calls[0][1]["limit"] == 1


async def test_each_model_names_itself_and_each_method_its_arguments() -> None:
    recorder = Recorder(None, {"id": "c"}, None, False, [])
    models = Api(recorder).models
    await models.Customer.find_by_id("c", store="s1")
    await models.Employee.create({"role": "cashier"})
    await models.Store.update("s1", {"open": False})
    await models.Sale.delete("1")
    await models.Product.aggregate(["category"], sum=["stock"], where={"stock": {"gt": 0}})
    assert recorder.calls == [
        ("models.get", {"model": "customer", "id": "c", "store": "s1"}),
        ("models.create", {"model": "employee", "values": {"role": "cashier"}, "store": None}),
        ("models.update", {"model": "store", "id": "s1", "values": {"open": False}, "store": None}),
        ("models.delete", {"model": "sale", "id": "1", "store": None}),
        (
            "models.aggregate",
            {
                "model": "product",
                "where": {"stock": {"gt": 0}},
                "group_by": ["category"],
                "functions": {"sum": ["stock"]},
            },
        ),
    ]
