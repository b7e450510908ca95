"""``python -m tapetum``: the command line."""

from tapetum.cli import main

if __name__ == "__main__":
    main()
