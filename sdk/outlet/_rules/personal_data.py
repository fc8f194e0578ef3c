"""Which members of the stores' documents are about a person, and so need a grant of their own.

The one table of the platform: nothing else knows names of fields. Names are compared in lower case, letters and digits
only, at any depth: ``first_name``, ``FirstName`` and ``contact.firstName`` are one rule. What a document says of a
person stands in the person's own document, below a member that names a person (a sale's ``customer``), or in a member
whose name begins with such a word (``customerEmail``). Ids stay visible: they tell one person from another, and not who
it is.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

Kind = Literal["customer", "employee"]
KINDS: tuple[Kind, ...] = ("customer", "employee")
Hidden: TypeAlias = frozenset[Kind]
"""The kinds of people whose data must not be seen."""

_PERSON = """
name firstname lastname middlename givenname familyname surname fullname displayname preferredname maidenname
nickname initials salutation honorific username login email emails emailaddress phone phones phonenumber
phonenumbers mobile mobilephone mobilenumber cell cellphone telephone tel homephone workphone fax contactinfo
contacts emergencycontact website twitter facebook instagram linkedin address addresses homeaddress mailingaddress
billingaddress shippingaddress deliveryaddress addressline1 addressline2 line1 line2 street street1 street2
housenumber postcode postalcode zip zipcode city district county location coordinates latitude longitude birthdate
birthday birthyear dateofbirth dob age gender sex nationality maritalstatus ethnicity religion loyaltynumber
loyaltyid loyaltycard loyaltycardnumber membernumber memberid membershipnumber membershipid cardnumber
identitynumber idnumber nationalid nationalidnumber passport passportnumber driverslicense drivinglicense
licensenumber socialsecuritynumber ssn taxid taxnumber vatid vatnumber iban bankaccount accountnumber salary wage
hourlyrate payrate pin pincode password passwordhash photo photourl picture avatar image signature fingerprint ip
ipaddress deviceid note notes comment comments remarks
"""
PERSON = frozenset(_PERSON.split())
"""Members of a person's document, or of an object about a person."""

_SALE = """
email phone receiptemail receiptphone contactemail contactphone billingaddress shippingaddress deliveryaddress
deliveryinstructions loyaltynumber loyaltycard loyaltycardnumber signature cardnumber pan iban
"""
SALE = frozenset(_SALE.split())
"""Members of a sale, its lines and its tenders, that are about its customer."""

PEOPLE: dict[Kind, tuple[str, ...]] = {
    "customer": ("customer", "buyer", "shopper", "guest", "recipient", "member", "cardholder", "payer"),
    "employee": (
        "employee",
        "cashier",
        "seller",
        "salesperson",
        "associate",
        "clerk",
        "manager",
        "supervisor",
        "staff",
        "createdby",
        "updatedby",
        "approvedby",
        "servedby",
        "voidedby",
    ),
}
"""Words that name a person in the name of a member."""

GRANTS: dict[Kind, str] = {kind: f"{kind}:personal-data" for kind in KINDS}

Path: TypeAlias = tuple[str | int, ...]
_CONTAINERS = frozenset({dict, list})
_Trail: TypeAlias = "tuple[()] | tuple[_Trail, str | int]"


class _Verdict(NamedTuple):
    personal: Kind | None
    """Whose data the member is, whatever its value."""
    person: Kind | None
    """Who the member names: an object below it is about them, a bare value is most likely their name."""
    inner: str
    """Whose members an object below this one has."""


def hidden_from(grants: Sequence[str]) -> Hidden:
    """Whose personal data an installation with these grants must not see."""
    return frozenset(kind for kind, grant in GRANTS.items() if grant not in grants)


def kind_of_path(entity: str, path: Sequence[str]) -> Kind | None:
    """Whose personal data a path into an ``entity`` document names; None when it is nobody's."""
    owner, person = entity, None
    for name in path:
        if name.lstrip("-").isdigit():  # an index into a list
            continue
        personal, person, owner = _judge(owner, name)
        if personal is not None:
            return personal
    return person


def personal_members(entity: str, document: Any, hidden: Hidden) -> dict[Path, Any]:
    """The members of ``document`` that are personal data of ``hidden`` people, by their path."""
    return {_path(trail, key): holder[key] for holder, key, trail in _find(entity, document, hidden)}


def redact(entity: str, document: Any, hidden: Hidden) -> bool:
    """Remove them from ``document``, in place; whether there were any."""
    if _is_plain(document, entity):
        return False
    found = list(_find(entity, document, hidden))
    for holder, key, _ in found:
        del holder[key]
    return bool(found)


def _is_plain(value: Any, owner: str) -> bool:
    """Whether nothing in a document is about people at all, which is soon seen by the shapes of its objects."""
    if type(value) is dict:
        if _notable(owner, tuple(value)):
            return False
        value = value.values()
    elif type(value) is not list:
        return True
    try:
        for item in value:
            if type(item) in _CONTAINERS and not _is_plain(item, owner):
                return False
    except RecursionError:
        return False
    return True


def _find(entity: str, document: Any, hidden: Hidden) -> Iterator[tuple[dict[str, Any], str, _Trail]]:
    # On the path of every event: one look-up per object, by its shape, and a trail that is joined when it is asked for.
    pending: list[tuple[Any, str, _Trail]] = [(document, entity, ())]
    while pending:
        value, owner, trail = pending.pop()
        if type(value) is list:
            pending += [(item, owner, (trail, at)) for at, item in enumerate(value) if type(item) in _CONTAINERS]
            continue
        if type(value) is not dict:
            continue
        notable = _notable(owner, tuple(value))
        for key, (personal, person, inner) in notable.items():
            item = value[key]
            if personal in hidden or (person in hidden and _is_bare(item)):
                yield value, key, trail
            else:
                pending.append((item, inner, (trail, key)))
        pending += [
            (item, owner, (trail, key))
            for key, item in value.items()
            if type(item) in _CONTAINERS and key not in notable
        ]


def _path(trail: _Trail, last: str) -> Path:
    path: Path = (last,)
    while trail:
        trail, part = trail
        path = (part, *path)
    return path


def _is_bare(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_bare, value))
    return value is not None and not isinstance(value, dict)


@lru_cache(maxsize=4_096)
def _notable(owner: str, keys: tuple[str, ...]) -> dict[str, _Verdict]:
    """The verdicts on those members of an object that are personal data or name a person."""
    verdicts = ((key, _judge(owner, key)) for key in keys)
    return {key: verdict for key, verdict in verdicts if verdict.personal or verdict.person}


def _judge(owner: str, key: str) -> _Verdict:
    name = "".join(filter(str.isalnum, key.lower()))
    if owner in PEOPLE and name in PERSON:
        return _Verdict(_kind(owner), None, owner)
    if owner == "sale" and name in SALE:
        return _Verdict("customer", None, owner)
    for kind, words in PEOPLE.items():
        for word in words:
            if name.startswith(word) and name[len(word) :] in PERSON:
                return _Verdict(kind, None, kind)
            if name.endswith((word, f"{word}s")):
                return _Verdict(None, kind, kind)
    return _Verdict(None, None, owner)


def _kind(owner: str) -> Kind:
    return "customer" if owner == "customer" else "employee"
