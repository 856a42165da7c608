"""The database itself keeps the entries of the audit trail as they were written: only a user or a key that is deleted
may be taken out of them."""

from typing import Any

from django.db import migrations

COLUMNS = (
    "id", "location_id", "at", "actor", "action", "object_type", "object_id", "object_name", "detail", "changes",
)  # fmt: skip
SQLITE = f"""
CREATE TRIGGER routing_auditentry_stays BEFORE UPDATE ON routing_auditentry
WHEN {" OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in COLUMNS)}
    OR (NEW.user_id IS NOT NULL AND NEW.user_id IS NOT OLD.user_id)
    OR (NEW.api_key_id IS NOT NULL AND NEW.api_key_id IS NOT OLD.api_key_id)
BEGIN
    SELECT RAISE(ABORT, 'Entries of the audit trail are not changed.');
END
"""
POSTGRESQL = f"""
CREATE FUNCTION routing_auditentry_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Entries of the audit trail are not changed.' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER routing_auditentry_stays BEFORE UPDATE ON routing_auditentry FOR EACH ROW
WHEN (
    {" OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in COLUMNS)}
    OR (NEW.user_id IS NOT NULL AND NEW.user_id IS DISTINCT FROM OLD.user_id)
    OR (NEW.api_key_id IS NOT NULL AND NEW.api_key_id IS DISTINCT FROM OLD.api_key_id)
)
EXECUTE FUNCTION routing_auditentry_stays();
"""


def put_up(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute(POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE)


def take_down(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER routing_auditentry_stays ON routing_auditentry")
        schema_editor.execute("DROP FUNCTION routing_auditentry_stays()")
    else:
        schema_editor.execute("DROP TRIGGER routing_auditentry_stays")


class Migration(migrations.Migration):
    dependencies = [("routing", "0002_audit_consent_invitations")]
    operations = [migrations.RunPython(put_up, take_down)]
