"""The OpenAPI document over HTTP, for programs and for people."""

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response


class SchemaView(SpectacularAPIView):
    """The document itself, for whoever has a key or is signed in."""

    permission_classes = [IsAuthenticated]
    schema = None

    def handle_exception(self, exc: Exception) -> Response:
        """Problems are JSON, whatever form of the document was asked for."""
        answer = super().handle_exception(exc)
        self.request.accepted_renderer = JSONRenderer()
        return answer


@method_decorator(staff_member_required, name="dispatch")
class DocsView(View):
    """The document as a page to read and try, for whoever may enter the admin."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest) -> HttpResponse:
        """The page; everything on it comes from our own static files."""
        return render(request, "docs.html", {"csrf_token_value": get_token(request)})
