"""A cluster inside a test loads only what every such cluster needs: that is most of its start."""

import subprocess
import sys

HEAVY = ("aiohttp", "grpc", "pyroute2", "rich", "kybern.api.cel", "kybern.kubelet", "kybern.rpc")


def test_a_cluster_in_process_loads_no_heavy_library_that_it_does_not_use() -> None:
    program = (
        "import sys, asyncio\n"
        "from kybern.testing import Cluster\n"
        "async def main():\n"
        "    async with Cluster(nodes=1): pass\n"
        "asyncio.run(main())\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
