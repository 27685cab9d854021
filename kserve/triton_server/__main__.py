"""`python -m triton_server --model-repository DIR`: the real Triton on this machine, without Docker."""

import sys

from cnn_image_entry import own_modules_only


def main() -> None:
    """Reads the settings and becomes Triton; a problem ends in one sentence on stderr."""
    own_modules_only()
    from pydantic import ValidationError

    from triton_server.environment import EnvironmentIncompleteError, find_environment
    from triton_server.launch import run
    from triton_server.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + "-".join(str(part) for part in first["loc"]).replace("_", "-")
        sys.exit(f"{flag}: {first['msg']}. See `python -m triton_server --help`.")
    if not settings.model_repository.is_dir():
        sys.exit(f"There is no folder {settings.model_repository}: name one with --model-repository.")
    try:
        run(settings, find_environment(settings.venv))
    except EnvironmentIncompleteError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
