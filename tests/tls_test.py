"""rediss:// against a real TLS server; and what a build without TLS says.

ctest-labels: redis
ctest-timeout: 60
"""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

AGX = os.environ["AGX"]
HAS_TLS = os.environ["AGX_TLS"] == "1"
REDIS_SERVER = os.environ.get("AGX_REDIS_SERVER", "redis-server")
SESSION = "1/2/tls"


def run(*args, **kwargs):
    return subprocess.run(args, check=True, capture_output=True, timeout=30, **kwargs)


def make_certificates(folder):
    """An authority, and certificates of a server (localhost) and of a client."""
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key",
        "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "2", cwd=folder)
    with open(os.path.join(folder, "names"), "w", encoding="ascii") as names:
        names.write("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "client"):
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key",
            "-out", name + ".csr", "-subj", "/CN=" + name, cwd=folder)
        run("openssl", "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", name + ".pem", "-days", "2", "-extfile", "names", cwd=folder)


class Server:
    """A redis-server that speaks TLS alone and wants a certificate of its clients."""

    def __init__(self, folder, clients):
        for _ in range(10):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self.process = subprocess.Popen(
                [REDIS_SERVER, "--port", "0", "--tls-port", str(self.port), "--save", "",
                 "--tls-cert-file", "server.pem", "--tls-key-file", "server.key",
                 "--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", clients],
                cwd=folder, stdout=subprocess.DEVNULL)
            if self._answers():
                return
            self.stop()
        raise RuntimeError(REDIS_SERVER + " with TLS does not start")

    def _answers(self):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.01)
        return False

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class TlsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="agx-test-tls-")
        make_certificates(cls.folder)
        cls.server = Server(cls.folder, "optional")
        cls.strict = Server(cls.folder, "yes")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.strict.stop()
        shutil.rmtree(cls.folder)

    def agx(self, url, *args, status=0):
        done = subprocess.run([AGX, "--url", url, *args], cwd=self.folder, capture_output=True,
                              text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, status, done.stderr + done.stdout)
        return done

    def url(self, host="localhost", server=None, **parameters):
        parameters.setdefault("tls_ca", "ca.pem")
        query = "&".join(f"{k}={v}" for k, v in parameters.items() if v)
        return f"rediss://{host}:{(server or self.server).port}?{query}"


class WithoutTls(TlsCase):
    """A libagx whose hiredis has no TLS."""

    def test_without_tls_the_refusal_says_why(self):
        done = self.agx(self.url(), "live", SESSION, status=4)
        self.assertIn("TLS", done.stderr)


class WithTls(TlsCase):
    """A libagx whose hiredis has TLS."""

    def test_a_session_is_written_and_followed(self):
        self.agx(self.url(), "start", SESSION)
        self.agx(self.url(), "add", SESSION, "--type", "info", "--body", '{"n":1}')
        big = '"' + "x" * 3_000_000 + '"'
        done = subprocess.run([AGX, "--url", self.url(), "add", SESSION, "--type", "info", "--body", "-"],
                              cwd=self.folder, input=big, text=True, capture_output=True,
                              timeout=30, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.agx(self.url(), "stop", SESSION)
        lines = self.agx(self.url(), "listen", SESSION).stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertIn(big, lines[2])
        self.agx(self.url(), "demo", "--fast")

    def test_an_unknown_authority_is_refused(self):
        done = self.agx(self.url(tls_ca=None), "live", SESSION, status=3)
        self.assertIn("tls_ca", done.stderr)

    def test_a_certificate_for_another_host_is_refused(self):
        done = self.agx(self.url(host="127.0.0.2"), "live", SESSION, status=3)
        self.assertIn("for this host", done.stderr)
        self.agx(self.url(host="127.0.0.2", tls_server_name="localhost"), "live", "1/2/none",
                 status=1)

    def test_verification_can_be_turned_off(self):
        self.agx(self.url(tls_ca=None, tls_insecure=1), "live", "1/2/none", status=1)

    def test_a_client_certificate_is_shown(self):
        self.agx(self.url(server=self.strict), "live", "1/2/none", status=3)
        self.agx(self.url(server=self.strict, tls_cert="client.pem", tls_key="client.key"), "live",
                 "1/2/none", status=1)

    def test_files_that_are_not_there_are_named(self):
        done = self.agx(self.url(tls_ca="nowhere.pem"), "live", SESSION, status=2)
        self.assertIn("nowhere.pem", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2, defaultTest="WithTls" if HAS_TLS else "WithoutTls")
