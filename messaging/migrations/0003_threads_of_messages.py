from django.db import migrations


def open_threads(apps, schema_editor):
    """A thread for every contact that has messages; all of them count as looked at."""
    schema_editor.execute(
        "INSERT INTO messaging_thread (contact_id, location_id, last_message_id, last_position, last_at, unread_count) "
        "SELECT m.contact_id, m.location_id, m.id, m.position, m.created_at, 0 FROM messaging_message m "
        "JOIN (SELECT contact_id, MAX(position) AS position FROM messaging_message GROUP BY contact_id) newest "
        "ON newest.position = m.position"
    )


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0002_threads_reactions_volumes'),
    ]

    operations = [
        migrations.RunPython(open_threads, migrations.RunPython.noop),
    ]
