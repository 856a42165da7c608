"""The hub's URL map with the floors beside it: both are served by the same process, through the same middleware."""

from django.urls import path

from benchmarks.floor.views import HookFloor, SendFloor
from imessage_hub import urls as hub

urlpatterns = [
    path("floor/messages/", SendFloor.as_view()),
    path("floor/hooks/<str:webhook_key>/", HookFloor.as_view()),
    path("floor/hooks/<str:webhook_key>/<str:token>/", HookFloor.as_view()),
    *hub.urlpatterns,
]

handler400, handler404, handler500 = hub.handler400, hub.handler404, hub.handler500
