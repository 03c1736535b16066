"""The one exception for what a user can mend."""


class UserError(Exception):
    """A mistake in parameters, data or paths.

    Its message says what was seen, what was expected and what to do. Stages print it without a
    traceback and end with exit code 2; every other exception is a defect of the project.
    """
