from services.common.database import run_migrations
from services.runtime.models import metadata

run_migrations(metadata)
