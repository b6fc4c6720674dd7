"""What the user can mend."""


class UserError(ValueError):
    """One sentence that says what is wrong and what to change; shown without a traceback."""
