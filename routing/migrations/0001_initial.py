import django.contrib.auth.models
import django.contrib.auth.validators
import django.db.models.deletion
import django.utils.timezone
import routing.constraints
import routing.models.tenancy
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        migrations.CreateModel(
            name='User',
            fields=[
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='email address')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'abstract': False,
            },
            managers=[
                ('objects', django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name='Account',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('index', models.PositiveIntegerField(editable=False, help_text='The N of {IM#N}; given once, never used for another account.')),
                ('label', models.CharField(max_length=120)),
                ('phone_number', models.CharField(help_text='E.164, like +15551234567.', max_length=16)),
                ('is_enabled', models.BooleanField(default=True, verbose_name='enabled')),
                ('line_state', models.CharField(choices=[('pending', 'pending'), ('assigned', 'assigned'), ('released', 'released')], default='assigned', editable=False, max_length=8)),
                ('line_blocked', models.BooleanField(default=False, editable=False)),
                ('credentials_rejected', models.BooleanField(default=False, editable=False)),
                ('connected', models.BooleanField(default=True, editable=False)),
                ('retired_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('can_send', models.GeneratedField(db_persist=True, expression=models.Case(models.When(models.Q(('connected', True), ('credentials_rejected', False), ('is_enabled', True), ('line_blocked', False), ('line_state', 'assigned'), ('retired_at__isnull', True)), then=models.Value(True)), default=models.Value(False)), output_field=models.BooleanField())),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('user', models.ForeignKey(blank=True, help_text='Messages to contacts that are assigned to this user leave from here.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='accounts', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['location', 'index'],
            },
        ),
        migrations.CreateModel(
            name='Location',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=120)),
                ('time_zone', models.CharField(default='America/New_York', max_length=64, validators=[routing.models.tenancy.validate_time_zone])),
                ('region', models.CharField(default='US', help_text='Where a phone number without a country code is taken to be from. Two letters, like US.', max_length=2, validators=[routing.models.tenancy.validate_region])),
                ('unavailable_tag_account', models.CharField(choices=[('next', 'go on to the next rule'), ('fail', 'fail, and say why')], default='next', max_length=8, verbose_name='when the tagged account cannot send')),
                ('unavailable_user_account', models.CharField(choices=[('next', 'go on to the next rule'), ('fail', 'fail, and say why')], default='next', max_length=8, verbose_name="when the assigned user's account cannot send")),
                ('manual_override_persists', models.BooleanField(default=False, help_text='After a message with {IM#N} was accepted by the provider, the contact is tagged with that number.', verbose_name="{IM#N} changes the contact's tag")),
                ('last_account_index', models.PositiveIntegerField(default=0, editable=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('default_account', models.ForeignKey(blank=True, db_constraint=False, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='default_of', to='routing.account')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Contact',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('phone_number', models.CharField(help_text='E.164, like +15551234567.', max_length=16)),
                ('opted_out_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('assigned_user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='assigned_contacts', to=settings.AUTH_USER_MODEL)),
                ('last_account', models.ForeignKey(blank=True, db_constraint=False, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='routing.account')),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='contacts', to='routing.location')),
            ],
            options={
                'ordering': ['name', 'phone_number'],
            },
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=120)),
                ('prefix', models.CharField(editable=False, max_length=16)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('location', models.ForeignKey(blank=True, help_text='Empty: a key to every location, for operators.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='routing.location')),
            ],
            options={
                'verbose_name': 'API key',
                'ordering': ['name'],
            },
        ),
        migrations.AddField(
            model_name='account',
            name='location',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='accounts', to='routing.location'),
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('role', models.CharField(choices=[('viewer', 'viewer: reads'), ('agent', 'agent: reads and converses'), ('admin', 'admin: everything in the location')], default='agent', max_length=8)),
                ('can_set_default', models.BooleanField(default=False, help_text='Admins always may; for agents it is granted here.', verbose_name='may mark the default account')),
                ('crm_user_id', models.CharField(blank=True, help_text="How the location's CRM names this user.", max_length=120, verbose_name='CRM user id')),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='routing.location')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['location__name', 'user__username'],
            },
        ),
        migrations.CreateModel(
            name='Tag',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tags', to='routing.location')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='ContactTag',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('contact', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='contact_tags', to='routing.contact')),
                ('location', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='routing.location')),
                ('tag', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='contact_tags', to='routing.tag')),
            ],
        ),
        migrations.AddField(
            model_name='contact',
            name='tags',
            field=models.ManyToManyField(blank=True, related_name='contacts', through='routing.ContactTag', to='routing.tag'),
        ),
        migrations.AddConstraint(
            model_name='location',
            constraint=models.CheckConstraint(condition=models.Q(('unavailable_tag_account__in', ['next', 'fail']), ('unavailable_user_account__in', ['next', 'fail'])), name='location_policies_known'),
        ),
        migrations.AddIndex(
            model_name='account',
            index=models.Index(condition=models.Q(('can_send', True)), fields=['location', 'index'], name='account_any_available'),
        ),
        migrations.AddIndex(
            model_name='account',
            index=models.Index(fields=['location', 'user'], name='account_of_user'),
        ),
        migrations.AddConstraint(
            model_name='account',
            constraint=models.UniqueConstraint(fields=('location', 'id'), name='account_of_location'),
        ),
        migrations.AddConstraint(
            model_name='account',
            constraint=models.UniqueConstraint(fields=('location', 'index'), name='account_index_once'),
        ),
        migrations.AddConstraint(
            model_name='account',
            constraint=models.UniqueConstraint(condition=models.Q(('retired_at', None)), fields=('location', 'phone_number'), name='account_number_once'),
        ),
        migrations.AddConstraint(
            model_name='account',
            constraint=models.CheckConstraint(condition=models.Q(('index__gte', 1)), name='account_index_from_one'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.UniqueConstraint(fields=('location', 'user'), name='membership_once'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.UniqueConstraint(condition=models.Q(('crm_user_id', ''), _negated=True), fields=('location', 'crm_user_id'), name='membership_crm_user_once'),
        ),
        migrations.AddConstraint(
            model_name='tag',
            constraint=models.UniqueConstraint(fields=('location', 'id'), name='tag_of_location'),
        ),
        migrations.AddConstraint(
            model_name='tag',
            constraint=models.UniqueConstraint(fields=('location', 'name'), name='tag_name_once'),
        ),
        migrations.AddConstraint(
            model_name='contacttag',
            constraint=models.UniqueConstraint(fields=('contact', 'tag'), name='contact_tag_once'),
        ),
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(fields=['location', '-created_at', 'id'], name='contact_list'),
        ),
        migrations.AddConstraint(
            model_name='contact',
            constraint=models.UniqueConstraint(fields=('location', 'id'), name='contact_of_location'),
        ),
        migrations.AddConstraint(
            model_name='contact',
            constraint=models.UniqueConstraint(fields=('location', 'phone_number'), name='contact_number_once'),
        ),
        # References to unique constraints over location and id, which have to be there first.
        migrations.AddConstraint(
            model_name='location',
            constraint=routing.constraints.SameLocation(field='default_account', location_field='id', name='location_default_is_its_own'),
        ),
        migrations.AddConstraint(
            model_name='contacttag',
            constraint=routing.constraints.SameLocation(field='contact', name='contact_tag_contact_same_location'),
        ),
        migrations.AddConstraint(
            model_name='contacttag',
            constraint=routing.constraints.SameLocation(field='tag', name='contact_tag_tag_same_location'),
        ),
        migrations.AddConstraint(
            model_name='contact',
            constraint=routing.constraints.SameLocation(field='last_account', name='contact_last_account_same_location'),
        ),
    ]
