from services.common.database import run_migrations
from services.registry.models import metadata

run_migrations(metadata)
