"""Certificates for servers of tests, signed by an authority that exists for the test alone."""

from __future__ import annotations

from pathlib import Path

import trustme


class Certificates:
    """An authority, and a certificate for 127.0.0.1, as files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.authority = directory / "ca.pem"
        self._key, self._chain = directory / "key.pem", directory / "cert.pem"
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(self.authority))
        certificate.private_key_pem.write_to_path(str(self._key))
        certificate.cert_chain_pems[0].write_to_path(str(self._chain))

    def options(self, port: int) -> tuple[str, ...]:
        """The command line of a server that speaks TLS on `port`, and asks clients for no certificate."""
        return (
            *("--tls-port", str(port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(self._chain), "--tls-key-file", str(self._key)),
            *("--tls-ca-cert-file", str(self.authority)),
        )
