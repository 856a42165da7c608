"""Why messages fail, in words, and what a person can do about it: one line for each code there is."""

from dataclasses import dataclass
from types import MappingProxyType

from routing.selection import Code


@dataclass(frozen=True)
class Advice:
    """What a code means, and what to do; both are whole sentences. `known` False: nobody told us this code."""

    reason: str
    action: str
    known: bool = True


_ACCOUNT_TROUBLE = "Look at “Needs attention” for what keeps the account from sending, then send again."
_TRY_LATER = "Nothing is wrong with the message. Send it again in a while, and spread large sends over the day."
_CHECK_NUMBER = "Check the contact's number. If it is right, reach them in another way."
_CREDENTIALS = "Ask an admin to open the setup and give it working credentials, then send again."
_PROVIDER_HELP = "Send it again. If it fails again, ask the provider's support and name the code."

ADVICE = MappingProxyType(
    {
        # --- ours: the decision ---
        Code.OVERRIDE_ACCOUNT_NOT_FOUND.value: Advice(
            "The message named an account that the location does not have.",
            "Look up the right {IM#N} in the list of accounts and send it again.",
        ),
        Code.OVERRIDE_ACCOUNT_NOT_CONNECTED.value: Advice(
            "The account that the message named cannot send now.",
            "Send it again from another account, or mend that one first.",
        ),
        Code.TAG_ACCOUNT_NOT_CONNECTED.value: Advice(
            "The account of the contact's im: tag cannot send now, and the location wants no other number to be used.",
            _ACCOUNT_TROUBLE,
        ),
        Code.USER_ACCOUNT_NOT_CONNECTED.value: Advice(
            "The assigned user's account cannot send now, and the location wants no other number to be used.",
            _ACCOUNT_TROUBLE,
        ),
        Code.NO_CONNECTED_ACCOUNT.value: Advice("No account of the location could send.", _ACCOUNT_TROUBLE),
        Code.CONTACT_OPTED_OUT.value: Advice(
            "The contact does not want messages.", "Nothing to mend. They can opt in again by answering START."
        ),
        # --- ours: on the way ---
        "override_leak": Advice(
            "The text still held a code like {IM#2}, so it was kept back.",
            "Write the text without the code and send it again.",
        ),
        "expired": Advice(
            "It could not be sent before its time ran out.",
            "Look at “Needs attention” for what held it up. Send it again if it still matters.",
        ),
        "unusable_credentials": Advice("The setup's credentials cannot be used.", _CREDENTIALS),
        "not_configured": Advice(
            "The hub is not set up for this provider.", "Ask the people who run the hub to finish its settings."
        ),
        "not_supported": Advice(
            "The provider cannot send this kind of message.", "Send it without its style or attachment."
        ),
        "error": Advice("The provider refused it and did not say why.", _PROVIDER_HELP),
        # --- the provider's ---
        "4000": Advice(
            "The provider found something wrong in the message.", "Check number, text and attachments, then send again."
        ),
        "4001": Advice("Too many messages in too short a time.", _TRY_LATER),
        "4002": Advice("The provider does not send to this number.", _CHECK_NUMBER),
        "5000": Advice("Something went wrong at the provider.", _PROVIDER_HELP),
        "5003": Advice("The provider had too much to do.", _TRY_LATER),
        "5509": Advice("The line sent as much as it may for the moment.", _TRY_LATER),
        "SMS_LIMIT_REACHED": Advice(
            "The line sent as many SMS as it may.", "Wait, or ask the provider for a higher limit."
        ),
        "10001": Advice("The message could not be delivered.", _CHECK_NUMBER),
        "10002": Advice(
            "The provider does not know whether it arrived.", "Ask the contact before you send it a second time."
        ),
        "http_400": Advice("The provider did not understand the message.", _PROVIDER_HELP),
        "http_401": Advice("The provider refused the setup's credentials.", _CREDENTIALS),
        "http_402": Advice(
            "The provider wants to be paid first.", "Look at the bill at the provider, then send again."
        ),
        "http_403": Advice("The provider does not let the account do this.", _CREDENTIALS),
        "http_404": Advice("The provider does not know the number or the account.", _CHECK_NUMBER),
        "http_422": Advice("The provider could not use the message.", "Check number, text and attachments."),
    }
)


def advice(code: str, detail: str = "") -> Advice:
    """What the code means and what to do; for a code that nobody told us, the words that came with it."""
    known = ADVICE.get(code)
    if known is not None:
        return known
    return Advice(detail or "The provider did not say why.", _PROVIDER_HELP, known=False)
