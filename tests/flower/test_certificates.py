"""Certificates: they chain to their own authority alone, hold for their hosts alone, and secrets are their owner's."""

import datetime
import socket
import ssl
import threading

import pytest

pytest.importorskip("cryptography")
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (load_pem_private_key, load_ssh_private_key,
                                                          load_ssh_public_key)

from minifl.errors import InputError
from minifl.flower import certificates

HOSTS = ["fl.example.org", "192.0.2.7", "2001:db8::7"]


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def shake(made, ca, host):
    """A TLS connection to a server with these files, by a client that trusts `ca`; ssl.SSLError if it refuses."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT       # the default from Python 3.13 on
    ours, theirs = socket.socketpair()

    def answer():
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:     # the client hung up
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        ours.settimeout(10)
        with client.wrap_socket(ours, server_hostname=host) as link:
            return link.version()
    finally:
        ours.close()
        thread.join(10)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("made"), HOSTS)


@pytest.mark.parametrize("host", HOSTS)
def test_a_client_that_trusts_the_authority_connects(made, host):
    assert shake(made, made.ca, host) == "TLSv1.3"


@pytest.mark.parametrize("host", ["example.org", "other.fl.example.org", "192.0.2.8", "::1", "127.0.0.1"])
def test_the_name_of_the_host_is_checked(made, host):
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch|not valid for"):
        shake(made, made.ca, host)


def test_the_authority_of_another_federation_is_not_trusted(made, tmp_path):
    other = certificates.make(tmp_path, HOSTS)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer|signature failure|self-signed"):
        shake(made, other.ca, HOSTS[0])
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(other, made.ca, HOSTS[0])


def test_the_certificate_is_signed_by_the_authority_and_is_none_itself(made):
    ca, own = read(made.ca), read(made.certificate)
    own.verify_directly_issued_by(ca)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert own.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    assert not own.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert load_pem_private_key(made.key.read_bytes(), None).public_key() == own.public_key()


def test_a_certificate_of_the_server_signs_no_other(made, tmp_path):
    """Who has server.key cannot make certificates that nodes believe."""
    from cryptography.hazmat.primitives import hashes
    own, key = read(made.certificate), ec.generate_private_key(ec.SECP256R1())
    false = (x509.CertificateBuilder(own.subject, x509.Name([]), key.public_key(), x509.random_serial_number(),
                                     own.not_valid_before_utc, own.not_valid_after_utc)
             .add_extension(x509.SubjectAlternativeName([x509.DNSName("evil.example.org")]), True)
             .sign(load_pem_private_key(made.key.read_bytes(), None), hashes.SHA256()))
    chain, secret = tmp_path / "false.pem", tmp_path / "false.key"
    chain.write_bytes(certificates._pem(false) + made.certificate.read_bytes())
    secret.write_bytes(certificates._private(key, "TraditionalOpenSSL"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(made._replace(certificate=chain, key=secret), made.ca, "evil.example.org")


def test_they_are_valid_now_and_for_a_year(made):
    now = datetime.datetime.now(datetime.timezone.utc)
    for path in (made.ca, made.certificate):
        begin, end = read(path).not_valid_before_utc, read(path).not_valid_after_utc
        assert begin < now < end and end - begin == datetime.timedelta(days=certificates.DAYS)


def test_secret_keys_are_their_owners_alone(made, tmp_path):
    key = certificates.make_node_key(tmp_path / "node.key")
    for path, mode in ((made.key, 0o600), (key, 0o600), (made.ca, 0o644), (made.certificate, 0o644)):
        assert path.stat().st_mode & 0o777 == mode
    assert b"PRIVATE" in made.key.read_bytes()
    assert b"PRIVATE" not in made.ca.read_bytes() + made.certificate.read_bytes()


def test_a_key_that_is_written_again_stays_secret(tmp_path):
    path = tmp_path / "node.key"
    path.write_text("old")
    path.chmod(0o644)
    certificates.make_node_key(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_node_has_a_key_of_its_own(tmp_path):
    first, second = (certificates.make_node_key(tmp_path / f"node-{i}") for i in range(2))
    publics = [load_ssh_public_key(path.with_suffix(".pub").read_bytes()) for path in (first, second)]
    for path, public in zip((first, second), publics):
        private = load_ssh_private_key(path.read_bytes(), None)
        assert private.curve.name == "secp384r1" and private.public_key() == public
        assert b"PRIVATE" not in path.with_suffix(".pub").read_bytes()
    assert publics[0] != publics[1]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        certificates.make(tmp_path / "file", HOSTS)
