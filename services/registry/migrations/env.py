from services.common.database import run_migrations
from services.registry.models import metadata
from services.registry.publisher_keys import models as publisher_keys  # noqa: F401  its tables count too

run_migrations(metadata)
