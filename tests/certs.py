"""A throw-away certificate authority, with a server's and a client's certificate."""

from pathlib import Path
from typing import NamedTuple

import trustme


class Certificates(NamedTuple):
    """PEM files of one authority. The server's certificate is for localhost and 127.0.0.1."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make(folder: Path) -> Certificates:
    """Makes an authority that nobody else knows, and writes its files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    found = Certificates(*(folder / f"{name}.pem" for name in Certificates._fields))
    authority.cert_pem.write_to_path(found.ca)
    server = authority.issue_cert("localhost", "127.0.0.1")
    client = authority.issue_cert("gateway.example", common_name="gateway")
    for leaf, chain, key in (
        (server, found.server, found.server_key),
        (client, found.client, found.client_key),
    ):
        leaf.private_key_pem.write_to_path(key)
        for index, part in enumerate(leaf.cert_chain_pems):
            part.write_to_path(chain, append=index > 0)
    return found
