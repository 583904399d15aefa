"""The one error a user is meant to see, and the end that somebody asked for."""


class Terminated(SystemExit):
    """Somebody wants the process to end (SIGTERM): not the doing of the function that was at work."""


class UserError(Exception):
    """A mistake outside the program: bad usage, bad input, a file that does not fit.

    Shown as one line, without a traceback, with exit status 2. Say what is wrong, where
    (file, key, value) and what to do about it.
    """

    def __init__(self, what: str, *, where: object = "", fix: str = "") -> None:
        self.what = what
        self.where = str(where)
        self.fix = fix
        place = f"{self.where}: " if self.where else ""
        remedy = f"; {fix}" if fix else ""
        super().__init__(f"{place}{what}{remedy}".replace("\n", " "))
