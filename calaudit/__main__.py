"""``python -m calaudit``: the command line, where no script is on the path."""

from calaudit.cli import main

if __name__ == "__main__":
    main()
