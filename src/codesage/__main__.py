"""`python -m codesage`."""

from codesage.cli import main

if __name__ == "__main__":
    main()
