"""Row-level security under every scoped table, and how JSON values compare."""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ENTITIES = ("sale", "product", "customer", "employee", "store")

OWN_PLACE = (
    "organization_id = current_setting('outlet.organization', true) "
    "AND current_setting('outlet.store', true) IN ('*', store_id)"
)
OWN_INSTALLATION = "installation_id = current_setting('outlet.installation', true)"
PLATFORM = "current_setting('outlet.platform', true) = 'on'"

PLUGIN_DATA = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'plugin_data'"

# A scalar as text; NULL for what is absent, null, or no scalar.
TEXT = """
CREATE FUNCTION outlet_text(value jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(value) NOT IN ('object', 'array') THEN value #>> '{}' END
"""
# A number, or a decimal string, as a number; NULL for everything else.
NUMBER = """
CREATE FUNCTION outlet_number(value jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(value)
    WHEN 'number' THEN value::numeric
    WHEN 'string' THEN
        CASE WHEN value #>> '{}' ~ '^[+-]?[0-9]{1,100}([.][0-9]{1,100})?$' THEN (value #>> '{}')::numeric END
END
"""
# An RFC 3339 time; NULL for everything else, also for what only looks like one (a 31st of June). It checks all that the
# cast would refuse, because catching its refusal would cost a subtransaction for every value.
MOMENT = """
CREATE FUNCTION outlet_moment(value jsonb) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    written text := CASE WHEN jsonb_typeof(value) = 'string' THEN value #>> '{}' END;
BEGIN
    IF written ~ (
        '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]'
        '([.][0-9]{1,9})?([Zz]|[+-](0[0-9]|1[0-4]):[0-5][0-9])$'
    ) AND left(written, 4) > '0000' AND (
        substr(written, 9, 2) <= '28' OR substr(written, 9, 2)::int <= date_part(
            'day', make_date(left(written, 4)::int, substr(written, 6, 2)::int, 1) + interval '1 month - 1 day'
        )
    ) THEN
        RETURN written::timestamptz;
    END IF;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    for entity in ENTITIES:
        protect(entity, OWN_PLACE)
    for (table,) in op.get_bind().exec_driver_sql(PLUGIN_DATA).all():
        protect(table, OWN_INSTALLATION)
    for function in (TEXT, NUMBER, MOMENT):
        op.execute(function)


def downgrade() -> None:
    for function in ("outlet_moment", "outlet_number", "outlet_text"):
        op.execute(f"DROP FUNCTION {function}(jsonb)")
    for (table,) in op.get_bind().exec_driver_sql(PLUGIN_DATA).all():
        expose(table)
    for entity in ENTITIES:
        expose(entity)


def protect(table: str, own: str) -> None:
    """Hold every statement, the owner's too, to rows of its own; the platform's work sees all."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own ON {table} USING ({own})")
    op.execute(f"CREATE POLICY platform ON {table} USING ({PLATFORM})")


def expose(table: str) -> None:
    """Undo :func:`protect`."""
    op.execute(f"DROP POLICY platform ON {table}")
    op.execute(f"DROP POLICY own ON {table}")
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
