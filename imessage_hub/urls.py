"""The whole URL map."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from rest_framework.routers import SimpleRouter

from imessage_hub import api, docs, health
from imessage_hub.sign_in import join
from messaging.api import MessageView, TypingView
from messaging.batch_api import BatchView, BulkView
from messaging.webhook_api import WebhookDeliveryView, WebhookEndpointView
from provisioning.api import SetupView
from routing.api import AccountView, ContactView, LocationView

router = SimpleRouter(use_regex_path=False)
router.register("messages", MessageView, basename="message")
router.register("batches", BatchView, basename="batch")
router.register("contacts", ContactView, basename="contact")
router.register("accounts", AccountView, basename="account")
router.register("locations", LocationView, basename="location")
router.register("setups", SetupView, basename="setup")
router.register("webhook-endpoints", WebhookEndpointView, basename="webhook-endpoint")

api_v1 = [
    path("schema/", docs.SchemaView.as_view(), name="schema"),
    path("docs/", docs.DocsView.as_view(), name="docs"),
    path("messages/bulk/", BulkView.as_view({"post": "create"}), name="message-bulk"),
    path("contacts/<str:pk>/typing/", TypingView.as_view({"post": "create"}), name="contact-typing"),
    path(
        "webhook-endpoints/<str:pk>/deliveries/",
        WebhookDeliveryView.as_view({"get": "list"}),
        name="webhook-delivery-list",
    ),
    path(
        "webhook-endpoints/<str:pk>/deliveries/<str:delivery>/replay/",
        WebhookDeliveryView.as_view({"post": "replay"}),
        name="webhook-delivery-replay",
    ),
    *router.urls,
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api_v1)),
    re_path(r"^api/", api.unknown_address),
    path("join/", join.join, name="join"),
    path("join/<str:token>/", join.open_link, name="join-link"),
    path("hooks/", include("messaging.hooks")),
    path("files/", include("messaging.uploads")),
    path("health/live", health.live),
    path("health/ready", health.ready),
]

handler400 = api.bad_request
handler404 = api.page_not_found
handler500 = api.server_error
