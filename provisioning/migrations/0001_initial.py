import django.db.models.deletion
import django.utils.timezone
import provisioning.fields
import provisioning.models
import provisioning.providers
import provisioning.providers.base
import routing.constraints
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('routing', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SecretCanary',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('sealed', provisioning.fields.SecretTextField()),
            ],
            options={
                'verbose_name_plural': 'secret canaries',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='one_secret_canary')],
            },
        ),
        migrations.CreateModel(
            name='Setup',
            fields=[
                ('due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('lease_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('fence', models.PositiveBigIntegerField(default=0, editable=False)),
                ('attempts', models.PositiveIntegerField(default=0, editable=False)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('provider', models.CharField(choices=provisioning.providers.provider_choices, max_length=32)),
                ('business_name', models.CharField(help_text='What recipients see; cannot be changed later.', max_length=64)),
                ('label', models.CharField(help_text='For the people who run it; can be changed.', max_length=120)),
                ('area_code', models.CharField(blank=True, help_text='A wish for the number; three digits.', max_length=3)),
                ('status', models.CharField(choices=[('provisioning', 'provisioning'), ('pending', 'pending'), ('active', 'active'), ('unknown', 'unknown'), ('failed', 'failed'), ('closed', 'closed')], default='provisioning', editable=False, max_length=12)),
                ('problem_code', models.CharField(blank=True, editable=False, max_length=64)),
                ('problem', models.TextField(blank=True, editable=False)),
                ('webhook_key', models.CharField(default=provisioning.models.new_key, editable=False, max_length=64, unique=True)),
                ('webhook_secret', provisioning.fields.SecretTextField(default=provisioning.models.new_key, editable=False)),
                ('previous_webhook_secret', provisioning.fields.SecretTextField(blank=True, editable=False, null=True)),
                ('previous_webhook_secret_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('webhook_secret_set_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('webhooks_registered_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('credentials_key_id', provisioning.fields.SecretTextField(blank=True, editable=False, null=True)),
                ('credentials_secret', provisioning.fields.SecretTextField(blank=True, editable=False, null=True)),
                ('credentials_set_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('credentials_rejected_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('lines_read_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('closed_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='setups', to='routing.location')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='ProviderEvent',
            fields=[
                ('due_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('lease_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('fence', models.PositiveBigIntegerField(default=0, editable=False)),
                ('attempts', models.PositiveIntegerField(default=0, editable=False)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=64)),
                ('dedup_key', models.CharField(max_length=200)),
                ('provider_id', models.CharField(blank=True, max_length=200)),
                ('attempt_id', models.UUIDField(blank=True, null=True)),
                ('topic', models.CharField(blank=True, max_length=64)),
                ('body', models.BinaryField()),
                ('outcome', models.CharField(choices=[('waiting', 'waiting'), ('applied', 'applied'), ('ignored', 'ignored: nothing to do'), ('conflict', 'conflict: contradicts what we know'), ('unreadable', 'unreadable'), ('unknown', 'unknown type')], default='waiting', max_length=10)),
                ('detail', models.TextField(blank=True)),
                ('received_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('applied_at', models.DateTimeField(blank=True, null=True)),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='provider_events', to='routing.location')),
                ('setup', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='provisioning.setup')),
            ],
            options={
                'ordering': ['-received_at'],
            },
        ),
        migrations.CreateModel(
            name='PhoneLine',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('pending', 'pending'), ('assigned', 'assigned'), ('released', 'released')], default='pending', max_length=8)),
                ('health', models.CharField(choices=[('unknown', 'unknown'), ('online', 'online'), ('degraded', 'degraded'), ('offline', 'offline'), ('blocked', 'blocked')], default=provisioning.providers.base.Health['UNKNOWN'], max_length=8)),
                ('phone_number', models.CharField(blank=True, max_length=16, null=True)),
                ('request_id', models.CharField(blank=True, max_length=120)),
                ('requested_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('assigned_at', models.DateTimeField(blank=True, null=True)),
                ('released_at', models.DateTimeField(blank=True, null=True)),
                ('account', models.OneToOneField(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='phone_line', to='routing.account')),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='phone_lines', to='routing.location')),
                ('setup', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='phone_lines', to='provisioning.setup')),
            ],
            options={
                'ordering': ['requested_at', 'id'],
            },
        ),
        migrations.AddIndex(
            model_name='setup',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='setup_due'),
        ),
        migrations.AddIndex(
            model_name='setup',
            index=models.Index(fields=['location', '-created_at', 'id'], name='setup_list'),
        ),
        migrations.AddConstraint(
            model_name='setup',
            constraint=models.UniqueConstraint(fields=('location', 'id'), name='setup_of_location'),
        ),
        migrations.AddConstraint(
            model_name='setup',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('credentials_key_id__isnull', True), ('credentials_secret__isnull', True)), models.Q(('credentials_key_id__isnull', False), ('credentials_secret__isnull', False)), _connector='OR'), name='setup_credentials_together'),
        ),
        migrations.AddIndex(
            model_name='providerevent',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='provider_event_due'),
        ),
        migrations.AddIndex(
            model_name='providerevent',
            index=models.Index(condition=models.Q(('provider_id', ''), _negated=True), fields=['setup', 'provider_id'], name='provider_event_message'),
        ),
        migrations.AddIndex(
            model_name='providerevent',
            index=models.Index(fields=['location', '-received_at', 'id'], name='provider_event_list'),
        ),
        migrations.AddIndex(
            model_name='providerevent',
            index=models.Index(fields=['-received_at', 'id'], name='provider_event_list_of_all'),
        ),
        migrations.AddConstraint(
            model_name='providerevent',
            constraint=models.UniqueConstraint(fields=('setup', 'dedup_key'), name='provider_event_once'),
        ),
        migrations.AddConstraint(
            model_name='phoneline',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'assigned')), fields=('phone_number',), name='line_number_on_one_assigned_line'),
        ),
        migrations.AddConstraint(
            model_name='phoneline',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('account', None), ('assigned_at', None), ('phone_number', None), ('status', 'pending')), models.Q(('account__isnull', False), ('assigned_at__isnull', False), ('phone_number__isnull', False), ('status', 'assigned')), models.Q(('released_at__isnull', False), ('status', 'released')), _connector='OR'), name='line_state_complete'),
        ),
        # References to unique constraints over location and id, which have to be there first.
        migrations.AddConstraint(
            model_name='providerevent',
            constraint=routing.constraints.SameLocation(field='setup', name='provider_event_setup_same_location'),
        ),
        migrations.AddConstraint(
            model_name='phoneline',
            constraint=routing.constraints.SameLocation(field='setup', name='line_setup_same_location'),
        ),
        migrations.AddConstraint(
            model_name='phoneline',
            constraint=routing.constraints.SameLocation(field='account', name='line_account_same_location'),
        ),
    ]
