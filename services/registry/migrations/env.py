from services.common.database import run_migrations
from services.registry.models import metadata
from services.registry.publisher_keys import models as publisher_keys  # noqa: F401  its tables count too
from services.registry.scopes import models as scopes  # noqa: F401
from services.registry.submissions import models as submissions  # noqa: F401

run_migrations(metadata)
