"""`python -m lollms_cli` is `lollms`."""

from lollms_cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
