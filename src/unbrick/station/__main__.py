"""`python3 -m unbrick.station`: what the medium's first program starts."""

from unbrick.station.main import main

raise SystemExit(main())
