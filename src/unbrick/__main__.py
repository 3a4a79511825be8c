"""`python -m unbrick` is `unbrick`."""

from unbrick.cli import main

if __name__ == "__main__":
    main()
