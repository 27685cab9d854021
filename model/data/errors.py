"""What is wrong with the data, in sentences."""


class DataError(ValueError):
    """The training data is missing, broken or not what was expected; the sentence names the file."""


class DataAwayError(DataError):
    """Where the training data is does not answer at present; it may on another try."""


def reason(error: Exception) -> str:
    """What an error says, in one line: tarfile tells on a line each how it tried every kind of archive."""
    return str(error).partition("\n")[0].rstrip(": ")
