"""The audit log, service accounts, listings in the marketplace, reviews, and licences."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

REFUSAL = """
CREATE FUNCTION audit_entry_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of the audit log are never changed or removed' USING ERRCODE = 'restrict_violation';
END $$
"""
LIST_PLUGIN = """
CREATE FUNCTION list_plugin(wanted text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO plugin_listing (plugin_id, name, category, price, published_at, search, names)
    SELECT p.id, v.manifest ->> 'name', coalesce(v.manifest ->> 'category', 'custom'),
           coalesce(v.manifest #>> '{price,model}', 'free'), v.published_at,
           setweight(to_tsvector('simple', translate((v.manifest ->> 'name') || ' ' || p.id, '-_', '  ')), 'A')
           || setweight(to_tsvector('simple', translate(coalesce(v.manifest ->> 'tags', ''), '-_[]",', '      ')), 'B')
           || setweight(to_tsvector('simple', translate(v.manifest ->> 'description', '-_', '  ')), 'C')
           || setweight(to_tsvector('simple', translate(v.manifest ->> 'author', '-_', '  ')), 'D'),
           lower(translate((v.manifest ->> 'name') || ' ' || p.id || ' ' || coalesce(v.manifest ->> 'tags', ''),
                           '-_[]",', '      '))
    FROM plugin p
    JOIN plugin_version v ON v.plugin_id = p.id AND v.version = coalesce(p.latest_public, p.latest_version)
    WHERE p.id = wanted
    ON CONFLICT (plugin_id) DO UPDATE SET
        name = excluded.name, category = excluded.category, price = excluded.price,
        published_at = excluded.published_at, search = excluded.search, names = excluded.names
$$
"""
APPEND_ONLY = (
    "audit_entry_row BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW",
    "audit_entry_all BEFORE TRUNCATE ON audit_entry FOR EACH STATEMENT",
    "audit_head_row BEFORE DELETE ON audit_head FOR EACH ROW",
    "audit_head_all BEFORE TRUNCATE ON audit_head FOR EACH STATEMENT",
    "audit_head_forward BEFORE UPDATE ON audit_head FOR EACH ROW WHEN (NEW.sequence IS DISTINCT FROM OLD.sequence + 1 "
    "OR NEW.organization_id IS DISTINCT FROM OLD.organization_id)",
)


def upgrade() -> None:
    _audit()
    _service_accounts()
    _listings()
    _reviews()
    _licences()


def _audit() -> None:
    op.create_table(
        "audit_head",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        _member("action", "document::jsonb ->> 'action'::text"),
        _member("at", "document::jsonb ->> 'at'::text"),
        _member("actor", "(document::jsonb -> 'by'::text) ->> 'subject'::text"),
        _member("plugin_id", "(document::jsonb -> 'about'::text) ->> 'pluginId'::text"),
        _member("installation_id", "(document::jsonb -> 'about'::text) ->> 'installationId'::text"),
        sa.PrimaryKeyConstraint("organization_id", "sequence"),
    )
    op.create_index("audit_entry_action", "audit_entry", ["organization_id", "action", "sequence"])
    op.create_index("audit_entry_plugin", "audit_entry", ["organization_id", "plugin_id", "sequence"])
    op.execute(REFUSAL)
    for trigger in APPEND_ONLY:
        op.execute(f"CREATE TRIGGER {trigger} EXECUTE FUNCTION audit_entry_is_kept()")


def _member(name: str, expression: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), sa.Computed(f"({expression})", persisted=True), nullable=True)


def _service_accounts() -> None:
    op.create_table(
        "service_account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("store_id", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rights", postgresql.JSONB(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_hash"),
    )
    op.create_index("service_account_order", "service_account", ["organization_id", "created_at", "id"])


def _listings() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_table(
        "plugin_listing",
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("price", sa.String(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("search", postgresql.TSVECTOR(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("featured", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("downloads", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ratings", sa.ARRAY(sa.Integer()), server_default="{0,0,0,0,0}", nullable=False),
        sa.Column("score", sa.Numeric(), server_default="3.5", nullable=False),
        sa.ForeignKeyConstraint(["plugin_id"], ["plugin.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("plugin_id"),
    )
    op.create_index("plugin_listing_search", "plugin_listing", ["search"], postgresql_using="gin")
    op.create_index(
        "plugin_listing_names",
        "plugin_listing",
        ["names"],
        postgresql_using="gin",
        postgresql_ops={"names": "gin_trgm_ops"},
    )
    op.execute(LIST_PLUGIN)
    for table, event in (("plugin_version", "INSERT"), ("plugin", "UPDATE OF latest_version, latest_public")):
        name = {"plugin_version": "NEW.plugin_id", "plugin": "NEW.id"}[table]
        op.execute(
            f"CREATE FUNCTION {table}_is_listed() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN PERFORM list_plugin({name}); RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_is_listed AFTER {event} ON {table} FOR EACH ROW "
            f"EXECUTE FUNCTION {table}_is_listed()"
        )
    op.execute("SELECT list_plugin(id) FROM plugin")
    op.execute(
        "UPDATE plugin_listing SET downloads = counted.number FROM (SELECT plugin_id, count(*) AS number "
        "FROM installation WHERE installed_at IS NOT NULL GROUP BY plugin_id) AS counted "
        "WHERE counted.plugin_id = plugin_listing.plugin_id"
    )


def _reviews() -> None:
    op.create_table(
        "review",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reply", sa.String(), nullable=True),
        sa.Column("replied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hidden_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hidden_reason", sa.String(), nullable=True),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name="review_rating"),
        sa.ForeignKeyConstraint(["plugin_id"], ["plugin.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("plugin_id", "organization_id", name="review_once"),
    )
    op.create_index("review_newest", "review", ["plugin_id", "updated_at", "id"])
    op.create_table(
        "review_report",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["review_id"], ["review.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("review_id", "organization_id"),
    )


def _licences() -> None:
    op.create_table(
        "licence",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancels", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["plugin_id"], ["plugin.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("organization_id", "plugin_id", name="licence_once"),
    )
    op.create_index("licence_reference", "licence", ["provider", "reference"])
    op.create_table(
        "checkout",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("plugin_id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["plugin_id"], ["plugin.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "payment_event",
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider", "id"),
    )
    op.create_index("payment_event_reference", "payment_event", ["provider", "reference"])
    op.create_table(
        "licence_pause",
        sa.Column("installation_id", sa.Uuid(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["installation_id"], ["installation.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("installation_id"),
    )


def downgrade() -> None:
    for table in ("licence_pause", "payment_event", "checkout", "licence"):
        op.drop_table(table)
    for table in ("plugin_version", "plugin"):
        op.execute(f"DROP TRIGGER {table}_is_listed ON {table}")
        op.execute(f"DROP FUNCTION {table}_is_listed()")
    op.execute("DROP FUNCTION list_plugin(text)")
    for table in ("review_report", "review", "plugin_listing", "service_account", "audit_entry", "audit_head"):
        op.drop_table(table)
    op.execute("DROP FUNCTION audit_entry_is_kept()")
    op.execute("DROP EXTENSION IF EXISTS pg_trgm")
