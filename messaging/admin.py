"""The admin of messaging; what each page does stands in a module of its subject."""

from messaging import account_admin, location_admin
from messaging.batch_admin import MessageBatchAdmin
from messaging.message_admin import MessageAdmin
from messaging.thread_admin import ThreadAdmin

__all__ = ["MessageAdmin", "MessageBatchAdmin", "ThreadAdmin", "account_admin", "location_admin"]
