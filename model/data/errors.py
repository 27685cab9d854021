"""What is wrong with the data, in sentences."""


class DataError(ValueError):
    """The training data is missing, broken or not what was expected; the sentence names the file."""


class DataAwayError(DataError):
    """Where the training data is does not answer at present; it may on another try."""
