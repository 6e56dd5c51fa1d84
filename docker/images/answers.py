"""End well when an address answers with a status below 400: the images hold no curl, and need none."""

import sys
import urllib.request

# A proxy that the container was given is for the world outside.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(sys.argv[1], timeout=3):
    pass
