"""The one way a rule of ours says no."""


class Refused(Exception):
    """What was asked is not done, and nothing was changed.

    `code` is stable, `detail` is for people and says what to do. `status` is the HTTP answer: 400 malformed, 404 not
    there, 409 not in this state, 422 understood but not possible, 502 and 503 the provider's fault. `field` names the
    part of the request at fault; None when it is the whole.
    """

    def __init__(self, code: str, detail: str, *, status: int = 400, field: str | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.field = field
