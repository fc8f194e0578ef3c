"""An installation that is otherwise in some stores of its organization."""

import msgspec

from outlet.manifest import ComponentDeclaration
from services.common.directory import Directory, Installation, Variant, decode_installation, encode_installation
from tests.runtime.installations import installation

NORTH = Variant(place="region:north", stores=("n1", "n2"), config={"rate": 2}, removed=("label",))
N3 = Variant(place="store:n3", stores=("n3",), config={"rate": 2, "most": 9}, grants=("sale:read",))


def varied(*variants: Variant, **members: object) -> Installation:
    made = installation(
        config={"rate": 1, "label": "all"},
        grants=("sale:read", "customer:read"),
        components=(ComponentDeclaration(injection_point="POS.AfterCheckout", name="X", title="X"),),
    )
    return msgspec.structs.replace(made, variants=variants or (NORTH, N3), **members)


def test_a_store_has_what_its_variant_says_and_every_other_store_what_the_organization_has() -> None:
    found = varied()
    assert found.at("s1") is found.at(None) is found
    assert (found.at("n1").config, found.at("n1").grants) == ({"rate": 2}, ("sale:read", "customer:read"))
    assert found.at("n3").config == {"rate": 2, "label": "all", "most": 9}
    assert found.at("n3").grants == ("sale:read",)
    assert [found.at(store).variant for store in ("s1", "n2", "n3")] == ["", "region:north", "store:n3"]


def test_a_variant_is_made_once_and_knows_the_others() -> None:
    found = varied()
    assert found.at("n1") is found.at("n2") is found.at("n3").at("n1")
    assert found.at("n1").at("elsewhere") is found.at("n1").at(None) is found


def test_stores_that_grant_otherwise_are_told_from_those_that_grant_alike() -> None:
    here = varied().at("n3")
    assert here.stores_otherwise("customer:read") == (True, ("n3",))
    assert here.stores_otherwise("sale:read") == (True, ())
    giving = varied(Variant(place="region:a", stores=("a1", "a2"), grants=("product:read",)))
    assert giving.stores_otherwise("product:read") == (False, ("a1", "a2"))


def test_the_directory_answers_with_the_installation_as_it_is_in_the_store() -> None:
    directory = Directory()
    directory.put(found := varied())
    directory.put(plain := installation("plain"))
    assert directory.get(found.id) is found
    assert directory.find("loyalty-points", "acme", "n3") is found.at("n3")
    assert directory.find("loyalty-points", "acme", None) is found
    assert directory.listeners("sale.created", "acme", "n1") == [found.at("n1"), plain]
    assert directory.listeners("sale.created", "acme", "s1") == [found, plain]
    assert [shown.variant for shown, _ in directory.components("POS.AfterCheckout", "acme", "n3")] == ["store:n3"]


def test_variants_of_a_newer_state_take_the_place_of_the_former_ones() -> None:
    directory = Directory()
    directory.put(found := varied())
    directory.put(varied(NORTH, id=found.id, revision=2))
    assert directory.listeners("sale.created", "acme", "n3")[0].variant == ""


def test_variants_survive_the_wire_and_older_states_have_none() -> None:
    found = varied()
    assert decode_installation(encode_installation(found)) == found
    document = msgspec.json.decode(encode_installation(found))
    del document["variants"], document["variant"]
    assert decode_installation(msgspec.json.encode(document)).at("n1").config == found.config
