from services.common.database import run_migrations
from services.registry.models import metadata
from services.registry.updates import models as updates  # noqa: F401  its tables are part of the metadata

run_migrations(metadata)
