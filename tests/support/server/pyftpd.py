"""An FTPS server of pyftpdlib for tests/e2e.

Arguments: directory for certificate and log, port, first and last passive port, TLS version, clients, directory served,
what is forbidden.
"""

import logging
import os
import sys

from OpenSSL import SSL
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.log import config_logging
from pyftpdlib.servers import MultiprocessFTPServer, ThreadedFTPServer  # noqa: F401

directory, port, first, last, version, clients, root, forbidden = sys.argv[1:]
logging.basicConfig(filename=os.path.join(directory, "log"), level=logging.DEBUG, format="%(message)s")
config_logging(level=logging.DEBUG)

identity = os.path.join(directory, "both.pem")
context = SSL.Context(SSL.TLS_SERVER_METHOD)
context.use_certificate_chain_file(identity)
context.use_privatekey_file(identity)
context.set_session_id(b"ftpsfs-test")
protocol = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[version]
context.set_min_proto_version(protocol)
context.set_max_proto_version(protocol)

authorizer = DummyAuthorizer()
permissions = "elradmwMT" if forbidden == "renaming" else "elradfmwMT"
authorizer.add_user(os.environ["FTPSFS_TEST_USER"], os.environ["FTPSFS_TEST_PASSWORD"], root, perm=permissions)


class Handler(FTPHandler if forbidden == "tls" else TLS_FTPHandler):
    """Encrypts everything, unless that is forbidden."""

    certfile = identity
    ssl_context = context
    tls_control_required = True
    tls_data_required = True
    passive_ports = range(int(first), int(last) + 1)

    def ftp_STOR(self, file, mode="w"):  # noqa: N802
        """Stores a file, unless its name is forbidden."""
        if forbidden == "temporary names" and ".ftpsfs-" in file:
            self.respond("550 Not this name.")
            return None
        return super().ftp_STOR(file, mode)


Handler.authorizer = authorizer
# One process a session, as the others do it: one loop for all would tie the speed of one client to the other's.
server = MultiprocessFTPServer((os.environ["FTPSFS_TEST_ADDRESS"], int(port)), Handler)
server.max_cons_per_ip = int(clients)
server.serve_forever()
