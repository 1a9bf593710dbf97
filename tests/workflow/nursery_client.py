"""A command that a nursery runs: arguments, folder, environment and streams go there, the status comes back."""

import json
import os
import socket
import struct
import sys

with socket.socket(socket.AF_UNIX) as nursery:
    nursery.connect("SOCKET")
    request = {
        "command": sys.argv,
        "folder": os.getcwd(),  # noqa: PTH109 -- pathlib takes as long as all the rest
        "environment": dict(os.environ),
    }
    body = json.dumps(request).encode()
    socket.send_fds(nursery, [struct.pack("<I", len(body))], [0, 1, 2])
    nursery.sendall(body)
    status = nursery.recv(4, socket.MSG_WAITALL)
sys.exit(struct.unpack("<i", status)[0] if len(status) == 4 else "the nursery has gone")
