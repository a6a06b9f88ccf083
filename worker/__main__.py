"""`python -m worker`: every command of the operator."""

from worker.cli.app import main

if __name__ == "__main__":
    main()
