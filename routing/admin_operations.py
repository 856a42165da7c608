"""What people do with one object beyond editing it: a button on its page, and a page where something is asked first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.options import ModelAdmin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.errors import Refused
from routing.models import Role, User
from routing.scoped_admin import Least, LocationScopedAdmin, may, user_of


def always(obj: Any) -> bool:
    """For operations that every state of the object allows."""
    return True


@dataclass(frozen=True)
class Operation:
    """Something to do with one object.

    `run(user, obj, data)` does it and returns a sentence, for the person and for the object's history: no secret, no
    text of a message. `data` is what `form` gave, {} without one. It may raise Refused, and runs outside transactions.
    `shown(obj)`: whether the object's state allows it. `question`: asked on a page before it is done; without one and
    without a form it is done at once. `by`: the least role in the object's location; `permitted`, if given, decides
    instead. `audited`: `run` writes the audit trail itself, in the transaction of what it does.
    """

    name: str
    label: str
    run: Callable[[User, Any, dict[str, Any]], str]
    by: Least = Role.ADMIN
    permitted: Callable[[User, Any], bool] | None = None
    shown: Callable[[Any], bool] = always
    question: str = ""
    form: type[forms.Form] | None = None
    danger: bool = False
    audited: bool = False

    @property
    def asks(self) -> bool:
        """Whether there is a page before it is done."""
        return bool(self.question) or self.form is not None


class FormPageMixin(ModelAdmin):  # type: ignore[type-arg]
    """Pages with one plain form in the admin's own look."""

    def form_page(
        self,
        request: HttpRequest,
        *,
        title: str,
        form: forms.Form,
        submit: str,
        fieldsets: Sequence[tuple[str | None, dict[str, Any]]] | None = None,
        question: str = "",
        danger: bool = False,
        obj: Any = None,
    ) -> HttpResponse:
        """The page; `question` is a sentence above the form, `submit` the word on its button."""
        form.label_suffix = ""
        fieldsets = fieldsets or [(None, {"fields": list(form.fields)})]
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "subtitle": None,
            "original": obj,
            "adminform": helpers.AdminForm(form, fieldsets, {}, model_admin=self) if form.fields else None,  # type: ignore[arg-type]
            "errors": form.errors,
            "question": question,
            "submit": submit,
            "danger": danger,
            "back": self.page_of(obj) if obj is not None else self.list_url(),
            "media": self.media + form.media,
        }
        return TemplateResponse(request, "admin/form_page.html", context)

    def list_url(self) -> str:
        """Where the list is."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def page_of(self, obj: Any) -> str:
        """Where the object's page is."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[quote(obj.pk)])


def refuse(form: forms.Form, refused: Refused) -> None:
    """Show our "no" at the field it is about, or above the form."""
    form.add_error(refused.field if refused.field in form.fields else None, refused.detail)


class OperationsAdmin(FormPageMixin, LocationScopedAdmin):
    """An admin whose objects have operations."""

    operations: tuple[Operation, ...] = ()

    def get_urls(self) -> list[URLPattern]:
        """With a door for the operations; before Django's, which would take any path for an id."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_operation"
        door = path("<path:object_id>/do/<slug:name>/", self.admin_site.admin_view(self.operation_view), name=name)
        return [door, *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """With the buttons of the operations that this user may do with this object as it stands."""
        obj = context.get("original")
        context["operations"] = [
            {"label": item.label, "url": self._door(obj, item), "asks": item.asks, "danger": item.danger}
            for item in self.operations
            if obj is not None and item.shown(obj) and self._permitted(request, item, obj)
        ]
        # Who saves wants to see what was saved.
        context["show_save_and_add_another"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    def operation_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Asks, or does it. Raises Http404 for objects of other locations as for those that are not there."""
        operation = next((item for item in self.operations if item.name == name), None)
        obj = self.get_object(request, unquote(object_id))
        if operation is None or obj is None:
            raise Http404
        if not self._permitted(request, operation, obj):
            raise PermissionDenied
        if not operation.shown(obj):
            self.message_user(request, f"“{operation.label}” is not possible in this state.", messages.WARNING)
            return HttpResponseRedirect(self.page_of(obj))
        form = (operation.form or forms.Form)(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and self._done(request, operation, obj, form):
            return HttpResponseRedirect(self.page_of(obj))
        if not operation.asks:
            return HttpResponseRedirect(self.page_of(obj))
        return self.form_page(
            request,
            title=f"{operation.label}: {obj}",
            form=form,
            submit=operation.label,
            question=operation.question,
            danger=operation.danger,
            obj=obj,
        )

    def _done(self, request: HttpRequest, operation: Operation, obj: Any, form: forms.Form) -> bool:
        try:
            sentence = operation.run(user_of(request), obj, form.cleaned_data)
        except Refused as refused:
            if operation.form is None:
                self.message_user(request, refused.detail, messages.ERROR)
                return True
            refuse(form, refused)
            return False
        if not operation.audited:
            self.log_change(request, obj, sentence)
        self.message_user(request, sentence, messages.SUCCESS)
        return True

    def _permitted(self, request: HttpRequest, operation: Operation, obj: Any) -> bool:
        user = user_of(request)
        if operation.permitted is not None:
            return operation.permitted(user, obj)
        return may(user, operation.by, self.location_of(obj))

    def _door(self, obj: Any, operation: Operation) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_operation"
        return reverse(name, args=[quote(obj.pk), operation.name])
