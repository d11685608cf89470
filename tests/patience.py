"""How much longer than usual tests wait, on machines that are slower than usual.

``KYBERN_PATIENCE`` is the factor; ``bin/guest`` sets it where it has to emulate every instruction.
"""

import os

PATIENCE = float(os.environ.get("KYBERN_PATIENCE", "1"))
