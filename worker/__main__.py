"""`python -m worker`: every command of the operator."""

import gc

if __name__ == "__main__":
    # a start makes a hundred thousand objects that all stay: looking for garbage among them took a tenth of it
    gc.set_threshold(20_000)
    from worker.cli.app import main

    main()
