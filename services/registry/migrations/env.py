from services.common.database import run_migrations
from services.registry.audit import models as audit
from services.registry.bulk import models as bulk
from services.registry.licences import models as licences
from services.registry.listings import models as listings
from services.registry.models import metadata
from services.registry.publisher_keys import models as publisher_keys
from services.registry.reviews import models as reviews
from services.registry.rollouts import models as rollouts
from services.registry.scopes import models as scopes
from services.registry.service_accounts import models as service_accounts
from services.registry.submissions import models as submissions
from services.registry.updates import models as updates

# Their tables are in the metadata because they were imported.
TABLES = (
    audit, bulk, licences, listings, publisher_keys, reviews, rollouts, scopes, service_accounts, submissions, updates
)  # fmt: skip

run_migrations(metadata)
