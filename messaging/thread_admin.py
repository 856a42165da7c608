"""The admin of conversations: who was said what to last, and a door to each conversation."""

import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import Truncator

from messaging import composer
from messaging.message_words import STATUS_TONES
from messaging.models import Direction, Message, MessageStatus, Thread
from messaging.thread_pages import ThreadPages
from routing.admin_lists import ChoiceFilter, CursorChangeList
from routing.admin_operations import FormPageMixin, refuse
from routing.errors import Refused
from routing.models import Contact, Location, Role, User
from routing.scoped_admin import MAX_SEARCH_LENGTH, ReadOnlyAdmin, ScopedRelatedFilter, choices_of, may, user_of

MAX_FOUND_CONTACTS = 200
MAX_SHOWN_CONTACTS = 20
_NUMBER = re.compile(r"[0-9+().\-/ ]*[0-9][0-9+().\-/ ]*")


def contacts_by(term: str, user: User) -> QuerySet[Contact]:
    """The contacts of the user's locations whose name, or for digits whose number, holds the term."""
    digits = re.sub(r"[^0-9]", "", term) if _NUMBER.fullmatch(term) else ""
    named = Q(phone_number__contains=digits) if digits else Q(name__icontains=term)
    return Contact.objects.visible_to(user).filter(named)


class UnreadFilter(ChoiceFilter):
    """What nobody has looked at; one index has exactly these."""

    title = "unread"
    parameter_name = "unread"
    answers = (("yes", "unread only"),)

    def chosen(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """Those with something unread in them."""
        return queryset.filter(unread_count__gt=0)


class LastAccountFilter(ScopedRelatedFilter):
    """By the account of the last message."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "account"


class ThreadList(CursorChangeList):
    """Conversations, the liveliest first."""

    @property
    def rows(self) -> Sequence[dict[str, Any]]:
        """What each row says."""
        return [_row(thread) for thread in self.result_list]


def _row(thread: Thread) -> dict[str, Any]:
    message: Message = thread.last_message
    status = MessageStatus(message.status)
    return {
        "thread": thread,
        "contact": thread.contact,
        "initial": (thread.contact.name.strip()[:1] or "#").upper(),
        "ours": message.direction == Direction.OUTBOUND,
        "excerpt": Truncator(" ".join(message.text.split())).chars(120) or "Picture or file",
        "status": status.label,
        "tone": STATUS_TONES[status],
        "account": message.account,
    }


class NewConversationForm(forms.Form):
    """Whom to write to: a number, or somebody's name."""

    location = forms.ModelChoiceField(queryset=Location.objects.none())
    to = forms.CharField(
        label="Number or name",
        max_length=MAX_SEARCH_LENGTH,
        widget=AdminTextInputWidget(attrs={"autofocus": True}),
        help_text="A phone number opens its conversation; a name finds your contacts.",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        places = choices_of(Location, user, Role.AGENT)
        first_two = list(places[:2])
        self.only = first_two[0] if len(first_two) == 1 else None
        field: Any = self.fields["location"]
        field.queryset = places
        if self.only is not None:
            del self.fields["location"]

    @property
    def place(self) -> Location:
        """Where the conversation is held; once the form was found valid."""
        chosen: Location = self.only or self.cleaned_data["location"]
        return chosen


@admin.register(Thread)
class ThreadAdmin(ThreadPages, FormPageMixin, ReadOnlyAdmin):
    """Conversations, and a page for each that is not a form of Django's."""

    change_list_template = "admin/messaging/thread/change_list.html"
    list_display = ("contact", "last_message", "location")
    list_select_related = ("contact", "last_message__account", "location")
    list_filter = (UnreadFilter, ("location", ScopedRelatedFilter), ("last_message__account", LastAccountFilter))
    lookups = frozenset(
        {"unread", "location__id__exact", "last_message__account__id__exact", "last_message__account__isnull"}
    )
    search_fields = ("contact__name",)
    search_help_text = "The contact's name or number"
    ordering = ("-last_position",)
    sortable_by = ()
    list_per_page = 50
    list_words = "Everything said with each contact, whichever number it left from."
    empty_words = "Write to somebody, or wait for the first message: it shows up here."

    def get_urls(self) -> list[URLPattern]:
        """With the page that begins a conversation; before Django's, which would take any path for an id."""
        door = self.admin_site.admin_view(self.new_view)
        return [path("new/", door, name="messaging_thread_new"), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CursorChangeList]:
        """Never counted."""
        return ThreadList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the button that begins a conversation, for those who may."""
        return super().changelist_view(
            request, {"may_write": self.permits(request, Role.AGENT), **(extra_context or {})}
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By contact, through the contacts of the user's locations: the texts are not searched."""
        term = search_term.replace("\0", "").strip()[:MAX_SEARCH_LENGTH]
        if not term:
            return queryset, False
        found = contacts_by(term, user_of(request)).values_list("pk", flat=True)[:MAX_FOUND_CONTACTS]
        return queryset.filter(pk__in=list(found)), False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The thread; for a contact to whom nothing was said yet, one that is not stored. None where there is none that
        the user may see."""
        try:
            thread = (
                self.get_queryset(request)
                .select_related("contact__location", "contact__assigned_user", "contact__last_account")
                .filter(pk=object_id)
                .first()
            )
            if thread is not None:
                return thread
            contacts = Contact.objects.visible_to(user_of(request))
            people = contacts.select_related("location", "assigned_user", "last_account")
            contact = people.filter(pk=object_id).first()
        except (ValidationError, ValueError):
            return None
        return None if contact is None else Thread(contact=contact, location=contact.location)

    def history_name(self, obj: Any) -> str:
        """No name and no number."""
        return f"Conversation {obj.pk}"

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """Opens the conversation with a number, or finds contacts by name."""
        user = user_of(request)
        if not self.permits(request, Role.AGENT):
            raise PermissionDenied
        form = NewConversationForm(user, request.POST if request.method == "POST" else None)
        found: list[Contact] = []
        if request.method == "POST" and form.is_valid():
            term = form.cleaned_data["to"].strip()
            if _NUMBER.fullmatch(term):
                try:
                    contact = composer.open_number(location=form.place, number=term, by=user)
                except Refused as refused:
                    refuse(form, refused)
                else:
                    return HttpResponseRedirect(self.page_of(Thread(contact=contact)))
            else:
                found = list(contacts_by(term, user).filter(location=form.place)[:MAX_SHOWN_CONTACTS])
                if not found:
                    form.add_error("to", "No contact has that name. Type the phone number to write to.")
        page = self.form_page(request, title="New conversation", form=form, submit="Open")
        if isinstance(page, TemplateResponse) and page.context_data is not None:
            page.template_name = "admin/messaging/thread/new.html"
            page.context_data["found"] = [(contact, self.page_of(Thread(contact=contact))) for contact in found]
        return page

    def may_write(self, request: HttpRequest, thread: Thread) -> bool:
        """Whether the user may answer in this conversation."""
        return may(user_of(request), Role.AGENT, thread.location_id)
