"""How much longer than usual tests wait, on machines that are slower than usual.

``KYBERN_PATIENCE`` is the factor: it multiplies what the test cluster and its users wait at most.
"""

import os

PATIENCE = float(os.environ.get("KYBERN_PATIENCE", "1"))
