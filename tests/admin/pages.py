"""What everybody gets at each address of the admin, for a row of their own location.

One line an address: its name, the statuses of GET, of a POST with nothing in it, and `notes` where looking at it notes
something (what was read, say). The order within each is that of `PEOPLE`: operator, admin, agent, viewer, another
location's admin, a user who is a member of nothing, nobody. 302 is the page to sign in, the page after something was
done, or, for a row that is not there (for this user), the home page.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """Statuses of GET and of POST. `notes`: looking at it writes something down."""

    get: str
    post: str
    notes: bool = False

    def row(self, name: str) -> str:
        """As it stands in the table."""
        return f"{name:<52} {self.get} | {self.post}" + " | notes" * self.notes


TABLE = """
index                                                200 200 200 200 200 200 302 | 200 200 200 200 200 200 302
login                                                302 302 302 302 302 302 200 | 200 200 200 200 200 200 200
logout                                               405 405 405 405 405 405 302 | 302 302 302 302 302 302 302
password_change                                      200 200 200 200 200 200 302 | 200 200 200 200 200 200 302
password_change_done                                 200 200 200 200 200 200 302 | 405 405 405 405 405 405 302
autocomplete                                         403 403 403 403 403 403 302 | 405 405 405 405 405 405 302
jsi18n                                               200 200 200 200 200 200 302 | 405 405 405 405 405 405 302
routing_contact_operation:opt-out                    302 302 302 403 404 404 302 | 302 302 302 403 404 404 302
routing_contact_operation:opt-in                     302 302 302 403 404 404 302 | 302 302 302 403 404 404 302
routing_contact_changelist                           200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
routing_contact_add                                  200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
routing_contact_history                              200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
routing_contact_delete                               403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_contact_change                               200 200 200 200 302 403 302 | 200 200 200 403 302 403 302
unnamed:admin/routing/contact/<path:object_id>/      302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
routing_location_changelist                          200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
routing_location_add                                 200 403 403 403 403 403 302 | 200 403 403 403 403 403 302
routing_location_history                             200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
routing_location_delete                              403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_location_change                              200 200 200 200 302 403 302 | 200 200 403 403 302 403 302
unnamed:admin/routing/location/<path:object_id>/     302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
routing_membership_changelist                        200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
routing_membership_add                               200 403 403 403 403 403 302 | 200 403 403 403 403 403 302
routing_membership_history                           200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
routing_membership_delete                            200 200 403 403 302 403 302 | 200 200 403 403 302 403 302
routing_membership_change                            200 200 200 200 302 403 302 | 200 200 403 403 302 403 302
unnamed:admin/routing/membership/<path:object_id>/   302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
auth_user_password_change                            200 403 403 403 403 403 302 | 200 403 403 403 403 403 302
routing_user_changelist                              200 403 403 403 403 403 302 | 200 403 403 403 403 403 302
routing_user_add                                     200 403 403 403 403 403 302 | 200 403 403 403 403 403 302
routing_user_history                                 200 302 302 302 302 302 302 | 200 302 302 302 302 302 302
routing_user_delete                                  403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_user_change                                  200 403 403 403 403 403 302 | 200 403 403 403 403 403 302
unnamed:admin/routing/user/<path:object_id>/         302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
routing_apikey_operation:revoke                      200 200 404 404 404 404 302 | 302 302 404 404 404 404 302
routing_apikey_changelist                            200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
routing_apikey_add                                   200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
routing_apikey_history                               200 200 302 302 302 302 302 | 200 200 302 302 302 302 302
routing_apikey_delete                                403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_apikey_change                                200 200 403 403 302 403 302 | 403 403 403 403 403 403 302
unnamed:admin/routing/apikey/<path:object_id>/       302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
routing_account_operation:make-default               302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
routing_account_operation:enable                     302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
routing_account_operation:disable                    302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
routing_account_operation:retire                     302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
routing_account_changelist                           200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
routing_account_add                                  403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_account_history                              200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
routing_account_delete                               403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_account_change                               200 200 200 200 302 403 302 | 200 200 403 403 302 403 302
unnamed:admin/routing/account/<path:object_id>/      302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
provisioning_providerevent_changelist                200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
provisioning_providerevent_add                       403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
provisioning_providerevent_history                   200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
provisioning_providerevent_delete                    403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
provisioning_providerevent_change                    200 200 200 200 302 403 302 | 403 403 403 403 403 403 302
unnamed:admin/provisioning/providerevent/<path:object_id>/ 302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
provisioning_setup_connect                           200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
provisioning_setup_operation:refresh                 302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
provisioning_setup_operation:retry                   302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
provisioning_setup_operation:attach-credentials      302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
provisioning_setup_operation:rotate-webhook-secret   200 200 403 403 404 404 302 | 302 302 403 403 404 404 302
provisioning_setup_operation:abandon                 302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
provisioning_setup_operation:close                   302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
provisioning_setup_changelist                        200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
provisioning_setup_add                               200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
provisioning_setup_history                           200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
provisioning_setup_delete                            403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
provisioning_setup_change                            200 200 200 200 302 403 302 | 200 200 403 403 302 403 302
unnamed:admin/provisioning/setup/<path:object_id>/   302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
messaging_message_attachment                         404 404 404 404 404 404 302 | 404 404 404 404 404 404 302
messaging_message_operation:cancel                   200 200 200 403 404 404 302 | 302 302 302 403 404 404 302
messaging_message_edit                               302 302 302 403 404 404 302 | 302 302 302 403 404 404 302
messaging_message_changelist                         200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
messaging_message_add                                403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
messaging_message_history                            200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
messaging_message_delete                             403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
messaging_message_change                             200 200 200 200 302 403 302 | 403 403 403 403 403 403 302
unnamed:admin/messaging/message/<path:object_id>/    302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
app_list:messaging                                   200 200 200 200 200 404 302 | 200 200 200 200 200 404 302
app_list:provisioning                                200 200 200 200 200 404 302 | 200 200 200 200 200 404 302
app_list:routing                                     200 200 200 200 200 404 302 | 200 200 200 200 200 404 302
code_step                                            302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
account                                              200 200 200 200 200 200 302 | 302 302 302 302 302 302 302
second_factor                                        200 200 200 200 200 200 302 | 200 200 200 200 200 200 302
sign_out_everywhere                                  405 405 405 405 405 405 302 | 302 302 302 302 302 302 302
routing_auditentry_changelist                        200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
routing_auditentry_add                               403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_auditentry_history                           200 200 302 302 302 302 302 | 200 200 302 302 302 302 302
routing_auditentry_delete                            403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_auditentry_change                            200 200 403 403 302 403 302 | 403 403 403 403 403 403 302
unnamed:admin/routing/auditentry/<path:object_id>/   302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
routing_contact_import                               200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
routing_contact_import_preview                       302 302 403 403 302 403 302 | 302 302 403 403 302 403 302
routing_contact_export                               404 404 403 403 404 403 302 | 404 404 403 403 404 403 302
routing_invitation_operation:withdraw                200 200 404 404 404 404 302 | 302 302 404 404 404 404 302
routing_invitation_changelist                        200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
routing_invitation_add                               200 200 403 403 200 403 302 | 200 200 403 403 200 403 302
routing_invitation_history                           200 200 302 302 302 302 302 | 200 200 302 302 302 302 302
routing_invitation_delete                            403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
routing_invitation_change                            200 200 403 403 302 403 302 | 403 403 403 403 403 403 302
unnamed:admin/routing/invitation/<path:object_id>/   302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
provisioning_setup_live                              200 200 200 200 404 404 302 | 200 200 200 200 404 404 302
provisioning_setup_progress                          404 404 403 403 404 403 302 | 404 404 403 403 404 403 302
provisioning_setup_impact:close                      200 200 403 403 404 404 302 | 302 302 403 403 404 404 302
routing_account_impact:make-default                  302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
routing_account_impact:disable                       200 200 403 403 404 404 302 | 302 302 403 403 404 404 302
routing_account_impact:retire                        200 200 403 403 404 404 302 | 302 302 403 403 404 404 302
messaging_message_desk                               200 200 200 200 200 403 302 | 405 405 405 405 405 405 302
messaging_message_operation:settle                   302 302 302 403 404 404 302 | 302 302 302 403 404 404 302
messaging_message_operation:send-again               302 302 302 403 404 404 302 | 302 302 302 403 404 404 302
messaging_messagebatch_live                          200 200 200 200 404 404 302 | 200 200 200 200 404 404 302
messaging_messagebatch_refused                       200 200 200 200 404 404 302 | 200 200 200 200 404 404 302
messaging_messagebatch_operation:cancel              302 302 302 403 404 404 302 | 302 302 302 403 404 404 302
messaging_messagebatch_changelist                    200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
messaging_messagebatch_add                           403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
messaging_messagebatch_history                       200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
messaging_messagebatch_delete                        403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
messaging_messagebatch_change                        200 200 200 200 302 403 302 | 403 403 403 403 403 403 302
unnamed:admin/messaging/messagebatch/<path:object_id>/ 302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
messaging_thread_new                                 200 200 200 403 200 403 302 | 200 200 200 403 200 403 302
messaging_thread_live                                200 200 200 200 404 404 302 | 200 200 200 200 404 404 302
messaging_thread_preview                             405 405 405 403 404 404 302 | 200 200 200 403 404 404 302
messaging_thread_send                                405 405 405 403 404 404 302 | 400 400 400 403 404 404 302
messaging_thread_again                               405 405 405 403 404 404 302 | 302 302 302 403 404 404 302
messaging_thread_changelist                          200 200 200 200 200 403 302 | 200 200 200 200 200 403 302
messaging_thread_add                                 403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
messaging_thread_history                             200 200 200 200 302 302 302 | 200 200 200 200 302 302 302
messaging_thread_delete                              403 403 403 403 403 403 302 | 403 403 403 403 403 403 302
messaging_thread_change                              200 200 200 200 302 403 302 | 403 403 403 403 403 403 302
unnamed:admin/messaging/thread/<path:object_id>/     302 302 302 302 302 302 302 | 302 302 302 302 302 302 302
routing_membership_operation:reset-second-factor     302 302 403 403 404 404 302 | 302 302 403 403 404 404 302
join                                                 404 404 404 404 404 404 404 | 404 404 404 404 404 404 404
join-link                                            404 404 404 404 404 404 404 | 405 405 405 405 405 405 405
picture                                              404 404 404 404 404 404 404 | 405 405 405 405 405 405 405
unnamed:admin/(?P<url>.*)$                           404 404 404 404 404 404 302 | 404 404 404 404 404 404 302
"""


def _read(line: str) -> tuple[str, Page]:
    name, rest = line.split(maxsplit=1)
    get, post, *notes = (part.strip() for part in rest.split("|"))
    return name, Page(get, post, notes=notes == ["notes"])


PAGES = dict(_read(line) for line in TABLE.strip().splitlines())
