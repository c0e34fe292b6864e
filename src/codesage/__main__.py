"""`python -m codesage`."""

from codesage.cli import run

if __name__ == "__main__":
    run()
