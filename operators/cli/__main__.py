"""`python -m operators.cli`."""

from operators.cli import main

raise SystemExit(main())
