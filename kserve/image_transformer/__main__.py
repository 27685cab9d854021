"""`python -m image_transformer`: the transformer, in a pod or on a laptop."""

import sys

from cnn_image_entry import own_modules_only


def main() -> None:
    """Reads the settings and serves; a problem ends in one sentence on stderr."""
    own_modules_only()
    from pydantic import ValidationError

    from image_transformer.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            sys.exit(f"{first['msg'].removeprefix('Value error, ').capitalize()}.")
        sys.exit(
            f"--{'.'.join(map(str, first['loc']))}: {first['msg']}. See `python -m image_transformer --help`."
        )
    # kserve reads the command line when it is imported, and skips what it does not know: ours has been read.
    del sys.argv[1:]
    from image_transformer.kserve_parts import import_kserve

    import_kserve()
    from image_transformer import server
    from image_transformer.observe import logs

    logs.configure()
    try:
        server.ImageServer(settings).run()
    except server.PortTakenError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
