"""A measurement that does not count."""


class Refused(Exception):
    """What was measured is not what was to be measured; the message says what differed. There is no figure then."""
