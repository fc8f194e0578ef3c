"""How far an installation reaches into the stores of its organization, where not all of them grant it the same.

What one store withholds stays hidden from code that runs for another store, or for none: both must have granted it.
"""

from collections.abc import Collection

from services.common.directory import Installation
from services.runtime.commerce.personal_data import Hidden, hidden_from
from services.runtime.plugin_api.where import Parameters


class Reach:
    """Of an installation as it is where the call runs."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.hidden = hidden_from(installation.grants)
        """Whose personal data is hidden from it everywhere."""

    def hidden_in(self, store: str) -> Hidden:
        """Whose personal data is hidden from it in the documents of ``store``."""
        there = self._installation.at(store)
        return self.hidden if there is self._installation else self.hidden | hidden_from(there.grants)

    def rows(self, grants: Collection[str], parameters: Parameters) -> str:
        """The condition that an entity is of a store that gives all of these grants; empty when all stores do alike."""
        if not self._installation.variants:
            return ""
        conditions = []
        for grant in grants:
            given, otherwise = self._installation.stores_otherwise(grant)
            if not given:
                conditions.append(f" AND store_id = ANY({parameters.add(list(otherwise))}::text[])")
            elif otherwise:
                conditions.append(f" AND store_id <> ALL({parameters.add(list(otherwise))}::text[])")
        return "".join(conditions)
