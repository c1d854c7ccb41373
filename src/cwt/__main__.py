"""``python -m cwt``: the command line."""

from cwt.cli import main

if __name__ == "__main__":
    main()
