import django.db.models.deletion
import django.utils.timezone
import routing.constraints
import uuid
from django.db import migrations, models


def create_position_sequence(apps, schema_editor):
    """The order of acceptance; SQLite, with its one writer, counts in the insert instead."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("CREATE SEQUENCE messaging_message_position OWNED BY messaging_message.position")


def drop_position_sequence(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP SEQUENCE messaging_message_position")


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('provisioning', '0001_initial'),
        ('routing', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Message',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('position', models.BigIntegerField(editable=False, unique=True)),
                ('contact_number', models.CharField(max_length=16)),
                ('direction', models.CharField(choices=[('outbound', 'outbound'), ('inbound', 'inbound')], max_length=8)),
                ('text', models.TextField(blank=True)),
                ('send_style', models.CharField(blank=True, max_length=32)),
                ('literal', models.BooleanField(default=False)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('rule', models.CharField(blank=True, choices=[('manual_override', 'manual_override'), ('temporary_override', 'temporary_override'), ('contact_tag', 'contact_tag'), ('assigned_user', 'assigned_user'), ('default_account', 'default_account'), ('any_available', 'any_available')], max_length=20)),
                ('trace', models.JSONField(blank=True, null=True)),
                ('number_switch', models.BooleanField(default=False)),
                ('override_index', models.PositiveIntegerField(blank=True, null=True)),
                ('temporary_override_index', models.PositiveIntegerField(blank=True, null=True)),
                ('exempt_from_opt_out', models.BooleanField(default=False)),
                ('dispatch_state', models.CharField(choices=[('scheduled', 'scheduled'), ('queued', 'queued'), ('claimed', 'claimed'), ('sending', 'sending'), ('accepted', 'accepted'), ('rejected', 'rejected'), ('uncertain', 'uncertain'), ('cancelled', 'cancelled'), ('expired', 'expired'), ('received', 'received')], max_length=10)),
                ('code', models.CharField(blank=True, max_length=64)),
                ('detail', models.TextField(blank=True)),
                ('scheduled_at', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('fence', models.PositiveBigIntegerField(default=0)),
                ('attempt_count', models.PositiveIntegerField(default=0)),
                ('uncertain_at', models.DateTimeField(blank=True, null=True)),
                ('lookup_at', models.DateTimeField(blank=True, null=True)),
                ('provider_id', models.CharField(blank=True, max_length=200)),
                ('service', models.CharField(blank=True, max_length=16)),
                ('accepted_at', models.DateTimeField(blank=True, null=True)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('delivered_at', models.DateTimeField(blank=True, null=True)),
                ('read_at', models.DateTimeField(blank=True, null=True)),
                ('failed_at', models.DateTimeField(blank=True, null=True)),
                ('failed_code', models.CharField(blank=True, max_length=64)),
                ('status', models.GeneratedField(db_persist=True, expression=models.Case(models.When(read_at__isnull=False, then=models.Value('read')), models.When(delivered_at__isnull=False, then=models.Value('delivered')), models.When(models.Q(('failed_at__isnull', False), ('dispatch_state', 'rejected'), _connector='OR'), then=models.Value('failed')), models.When(sent_at__isnull=False, then=models.Value('sent')), models.When(dispatch_state='accepted', then=models.Value('accepted')), models.When(dispatch_state='uncertain', then=models.Value('uncertain')), models.When(dispatch_state='sending', then=models.Value('sending')), models.When(dispatch_state='cancelled', then=models.Value('cancelled')), models.When(dispatch_state='expired', then=models.Value('expired')), models.When(dispatch_state='scheduled', then=models.Value('scheduled')), models.When(dispatch_state='received', then=models.Value('received')), default=models.Value('queued'), output_field=models.CharField()), output_field=models.CharField(max_length=10))),
                ('conflict', models.GeneratedField(db_persist=True, expression=models.Case(models.When(models.Q(models.Q(('failed_at__isnull', False), models.Q(('delivered_at__isnull', False), ('read_at__isnull', False), _connector='OR')), models.Q(('dispatch_state__in', ['cancelled', 'expired', 'rejected']), models.Q(('sent_at__isnull', False), ('delivered_at__isnull', False), ('read_at__isnull', False), _connector='OR')), _connector='OR'), then=models.Value(True)), default=models.Value(False), output_field=models.BooleanField()), output_field=models.BooleanField())),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('account', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='messages', to='routing.account')),
                ('contact', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='messages', to='routing.contact')),
                ('location', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='messages', to='routing.location')),
            ],
            options={
                'ordering': ['-position'],
            },
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(max_length=64)),
                ('status_code', models.PositiveSmallIntegerField(null=True)),
                ('answer', models.JSONField(null=True)),
                ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='routing.location')),
                ('message', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='messaging.message')),
            ],
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('fence', models.PositiveBigIntegerField()),
                ('token_digest', models.CharField(max_length=64, unique=True)),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('outcome', models.CharField(blank=True, max_length=16)),
                ('code', models.CharField(blank=True, max_length=64)),
                ('detail', models.TextField(blank=True)),
                ('account', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='routing.account')),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='routing.location')),
                ('message', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='messaging.message')),
            ],
            options={
                'ordering': ['started_at'],
            },
        ),
        migrations.CreateModel(
            name='Attachment',
            fields=[
                ('due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('lease_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('fence', models.PositiveBigIntegerField(default=0, editable=False)),
                ('attempts', models.PositiveIntegerField(default=0, editable=False)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('order', models.PositiveSmallIntegerField(default=0)),
                ('url', models.URLField(max_length=2000)),
                ('file', models.FileField(blank=True, upload_to='attachments/%Y/%m/')),
                ('content_type', models.CharField(blank=True, max_length=80)),
                ('size', models.PositiveIntegerField(blank=True, null=True)),
                ('fetched_at', models.DateTimeField(blank=True, null=True)),
                ('problem', models.CharField(blank=True, max_length=200)),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='routing.location')),
                ('message', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='attachments', to='messaging.message')),
            ],
            options={
                'ordering': ['message', 'order'],
            },
        ),
        migrations.CreateModel(
            name='MessageEvent',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('accepted', 'accepted by the provider'), ('sent', 'sent'), ('delivered', 'delivered'), ('read', 'read'), ('failed', 'failed'), ('rerouted', 'decided anew'), ('receipt', 'read receipt given')], max_length=10)),
                ('at', models.DateTimeField()),
                ('code', models.CharField(blank=True, max_length=64)),
                ('detail', models.TextField(blank=True)),
                ('recorded_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='routing.location')),
                ('message', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='messaging.message')),
                ('provider_event', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='provisioning.providerevent')),
            ],
            options={
                'ordering': ['at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='TypingNotice',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('until', models.DateTimeField(db_index=True)),
                ('account', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='routing.account')),
                ('contact', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='typing_notices', to='routing.contact')),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='routing.location')),
            ],
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('dispatch_state__in', ['queued', 'scheduled'])), fields=['due_at', 'position'], name='message_due'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('dispatch_state__in', ['claimed', 'sending'])), fields=['account', 'contact'], name='message_conversation_in_flight'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('dispatch_state__in', ['queued', 'claimed', 'sending', 'uncertain'])), fields=['account', 'contact', 'position'], name='message_conversation_head'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('dispatch_state__in', ['claimed', 'sending'])), fields=['lease_until'], name='message_lease'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('lookup_at__isnull', False)), fields=['lookup_at'], name='message_lookup'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['location', '-position'], name='message_list'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['location', 'status', '-position'], name='message_list_by_status'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['contact', '-position'], name='message_list_of_contact'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['account', '-position'], name='message_list_of_account'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.UniqueConstraint(fields=('location', 'id'), name='message_of_location'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.UniqueConstraint(condition=models.Q(('provider_id', ''), _negated=True), fields=('account', 'provider_id'), name='message_provider_id_once'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('contact_number', ''), _negated=True), name='message_contact_number_there'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('account__isnull', False), ('dispatch_state', 'rejected'), _connector='OR'), name='message_without_account_failed'),
        ),
        migrations.AddConstraint(
            model_name='idempotencykey',
            constraint=models.UniqueConstraint(fields=('location', 'key'), name='idempotency_key_once'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('message', 'fence'), name='attempt_once_a_claim'),
        ),
        migrations.AddIndex(
            model_name='attachment',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='attachment_due'),
        ),
        migrations.AddConstraint(
            model_name='attachment',
            constraint=models.UniqueConstraint(fields=('message', 'order'), name='attachment_order_once'),
        ),
        migrations.AddConstraint(
            model_name='messageevent',
            constraint=models.UniqueConstraint(fields=('message', 'kind'), name='message_event_once'),
        ),
        migrations.AddConstraint(
            model_name='typingnotice',
            constraint=models.UniqueConstraint(fields=('contact', 'account'), name='typing_notice_once'),
        ),
        # References to unique constraints over location and id, which have to be there first.
        migrations.AddConstraint(
            model_name='message',
            constraint=routing.constraints.SameLocation(field='contact', name='message_contact_same_location'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=routing.constraints.SameLocation(field='account', name='message_account_same_location'),
        ),
        migrations.AddConstraint(
            model_name='idempotencykey',
            constraint=routing.constraints.SameLocation(field='message', name='idempotency_key_message_same_location'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=routing.constraints.SameLocation(field='message', name='attempt_message_same_location'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=routing.constraints.SameLocation(field='account', name='attempt_account_same_location'),
        ),
        migrations.AddConstraint(
            model_name='attachment',
            constraint=routing.constraints.SameLocation(field='message', name='attachment_message_same_location'),
        ),
        migrations.AddConstraint(
            model_name='messageevent',
            constraint=routing.constraints.SameLocation(field='message', name='message_event_message_same_location'),
        ),
        migrations.AddConstraint(
            model_name='typingnotice',
            constraint=routing.constraints.SameLocation(field='contact', name='typing_contact_same_location'),
        ),
        migrations.AddConstraint(
            model_name='typingnotice',
            constraint=routing.constraints.SameLocation(field='account', name='typing_account_same_location'),
        ),
        migrations.RunPython(create_position_sequence, drop_position_sequence),
    ]
