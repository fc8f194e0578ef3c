from services.common.database import run_migrations
from services.registry.models import metadata
from services.registry.publisher_keys import models as publisher_keys  # noqa: F401  its tables count too
from services.registry.rollouts import models as rollouts  # noqa: F401  its tables are part of the metadata
from services.registry.submissions import models as submissions  # noqa: F401
from services.registry.updates import models as updates  # noqa: F401  its tables too

run_migrations(metadata)
