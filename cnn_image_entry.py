"""How each process of ours begins: with our own modules, wherever it is started, whatever PYTHONPATH says.

Our packages have everyday names (`model`, `export`, `jobs`), which people's own folders have too, and both
PYTHONPATH and the working folder come before what is installed. So this module, whose name nobody else has,
is imported first: it takes both away, before anything is imported that could be somebody else's.
"""

import os
import sys


def own_modules_only() -> None:
    """Leave PYTHONPATH and the working folder out, here and in whatever is started from here.

    Where PYTHONPATH is set, the same command line is run once more without it, in the same process: what it
    added cannot be told from what was there anyway. Programs call this before their other imports.
    """
    if os.environ.get("PYTHONPATH"):
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # -P: neither the working folder (python -m) nor the script's comes before what is installed.
        os.execve(sys.executable, [sys.executable, "-P", *sys.orig_argv[1:]], kept)  # noqa: S606 - no shell
    if not sys.flags.safe_path:
        del sys.path[0]
    os.environ["PYTHONSAFEPATH"] = "1"


def cnn_image() -> None:
    """The command line `cnn-image`.

    Ctrl-C ends it without a word until `main` can say so: while modules are imported it would be a traceback.
    """
    own_modules_only()
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # `run` has its children hold it back
    from jobs.cli import main

    main()


if __name__ == "__main__":
    cnn_image()
