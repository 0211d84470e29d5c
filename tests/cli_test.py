#!/usr/bin/env python3
# The command line, from outside: on a Redis of its own, in memory, in pipes and on terminals.
# ctest-labels: redis
# ctest-timeout: 240
#
# Usage: cli_test.py [--agx PATH] [--redis-server PATH] [unittest's own arguments]
import argparse
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEADLINE = 30.0
COMMANDS = ["demo", "start", "add", "stop", "cancel", "live", "listen", "history", "info", "group",
            "chat", "run", "messages", "bridge", "ls", "version"]

options = argparse.Namespace()


def wait_for(what, condition, deadline=DEADLINE):
    """The condition's first value that is true."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError("did not come: " + what)


class Redis:
    """A plain client: what it writes owes nothing to libagx."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        parts = [b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in words]
        self.socket.sendall(b"".join(parts))
        return self.reply()

    def reply(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise RuntimeError("unexpected reply %r" % line)

    def close(self):
        self.file.close()
        self.socket.close()


class Server:
    def __init__(self, keeps="no"):
        self.directory = tempfile.mkdtemp(prefix="agx-cli-")
        self.path = os.path.join(self.directory, "s")
        self.url = "unix://" + self.path
        self.keeps = keeps
        self.log = open(os.path.join(self.directory, "log"), "wb")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [options.redis_server, "--port", "0", "--unixsocket", self.path, "--save", "",
             "--appendonly", self.keeps, "--appendfsync", "always", "--dir", self.directory],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for("the server", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(options.redis_server + " ended")
        try:
            client = Redis(self.path)
        except OSError:
            return False
        with contextlib.closing(client), contextlib.suppress(RuntimeError):  # still loading
            return client("PING") == "PONG"
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        self.log.close()
        shutil.rmtree(self.directory)


server = None


def setUpModule():
    global server
    server = Server()


def tearDownModule():
    server.close()


def environment(**extra):
    env = {k: v for k, v in os.environ.items()
           if k not in ("AGX_URL", "NO_COLOR", "COLUMNS", "LC_ALL", "LC_CTYPE", "LANG")}
    env.update({"TERM": "xterm-256color", "TZ": "UTC"})
    env.update({k: v for k, v in extra.items() if v is not None})
    return env


def agx(*words, stdin=b"", url=None, env=None):
    """Runs it to its end, with a pipe on each side."""
    command = [options.agx] + [os.fsencode(w) for w in words]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=DEADLINE,
                          env=environment(AGX_URL=url or server.url, **(env or {})))


class Piped:
    """One that runs meanwhile."""

    def __init__(self, *words, url=None):
        self.process = subprocess.Popen(
            [options.agx] + list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment(AGX_URL=url or server.url))

    def line(self):
        """The next line of its output, when it is there."""
        text = b""
        until = time.monotonic() + DEADLINE
        while not text.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError("no line came; so far %r" % text)
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                raise AssertionError("it ended: %r" % self.process.stderr.read())
            text += byte
        return text.decode().rstrip("\n")

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end(self):
        """Its status, what is left of its output, and its messages."""
        out, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, out, err.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file and not file.closed:
                with contextlib.suppress(OSError):
                    file.close()


class Terminal:
    """One whose standard streams are a terminal."""

    def __init__(self, *words, url=None, columns=80, env=None, stdin=None, stderr=None):
        self.master, slave = pty.openpty()
        self.resize(columns)
        self.process = subprocess.Popen(
            [options.agx] + list(words), stdin=stdin or slave, stdout=slave, stderr=stderr or slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0),
            env=environment(AGX_URL=url or server.url, **(env or {})))
        os.close(slave)
        self.seen = ""
        self.raw = b""

    def resize(self, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def more(self, left):
        """False at the end."""
        if not select.select([self.master], [], [], max(0, left))[0]:
            raise AssertionError("nothing more came after %r" % self.seen)
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: nobody holds the other side any more
            return False
        self.raw += data
        self.seen = self.raw.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def until(self, text):
        until = time.monotonic() + DEADLINE
        while text not in self.seen:
            if not self.more(until - time.monotonic()):
                raise AssertionError("%r is not in %r" % (text, self.seen))
        return self.seen

    def end(self):
        until = time.monotonic() + DEADLINE
        while self.more(until - time.monotonic()):
            pass
        return self.process.wait(DEADLINE), self.seen

    def key(self, byte):
        os.write(self.master, byte)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


class Case(unittest.TestCase):
    counter = 0

    def setUp(self):
        self.redis = Redis(server.path)
        self.addCleanup(self.redis.close)
        Case.counter += 1
        self.id = "s%d" % Case.counter
        self.name = "1/42/" + self.id
        self.key = "agx:1:42:" + self.id

    def ok(self, *words, **more):
        done = agx(*words, **more)
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""))
        return done.stdout.decode()

    def fails(self, status, *words, says="", **more):
        done = agx(*words, **more)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, status, message)
        self.assertIn(says, message)
        for line in message.splitlines():
            self.assertTrue(line.startswith("agx: "), message)
        return done.stdout.decode()

    def write(self, *fields):
        """An entry as another program writes it."""
        return self.redis("XADD", self.key, "*", *fields).decode()

    def write_event(self, kind, body=None, origin="other"):
        fields = ["type", kind, "origin", origin]
        if body is not None:
            fields += ["body", body if isinstance(body, (str, bytes)) else json.dumps(body)]
        return self.write(*fields)

    def write_session(self, *bodies):
        self.write_event("begin", {"session_id": self.id})
        for body in bodies:
            self.write_event("event", body)
        self.write_event("end")


class Usage(Case):
    def test_help_of_everything(self):
        text = self.ok("--help")
        for command in COMMANDS:
            self.assertIn("\n  %s " % command, text)
        self.assertEqual(text, self.ok("-h"))
        for command in COMMANDS:
            help_text = self.ok(command, "--help")
            self.assertTrue(help_text.startswith("usage: agx " + command), help_text)
            self.assertEqual(help_text, self.ok("--help", command))
            self.assertIn("--url URL", help_text)
            self.assertEqual(help_text, self.ok("help", command))
        self.assertEqual(text, self.ok("help"))
        self.assertEqual(text, self.ok("--prefix", "p", "help"))
        self.fails(2, "help", "dance", says='no command "dance"')

    def test_version(self):
        self.assertRegex(self.ok("version"), r"^agx \d+\.\d+\.\d+, libagx \d+\.\d+\.\d+")

    def test_wrong_words(self):
        for words, says in (
                ([], "which command"),
                (["dance"], 'no command "dance"'),
                (["start"], "usage: agx start SCOPE/USER/SESSION"),
                (["start", "1/2/a", "1/2/b"], '"1/2/b" is too much'),
                (["start", "1/2/a", "--nonsense"], "no option --nonsense for agx start"),
                (["start", "1/2/a", "-x"], "no option -x"),
                (["--nonsense", "start"], "no option --nonsense"),
                (["--version"], "no option --version; agx version is a command"),
                (["--pretty", "listen", "1/2/a"], "--pretty has to come after the command"),
                (["start", "1/2/a", "--origin"], "--origin needs a value"),
                (["start", "1/2/a", "--take-over=1"], "--take-over takes no value"),
                (["version", "1"], "too much"),
                (["--color=blue", "listen", "1/2/a"], "auto, always or never"),
                (["start", "1/2/a", "--lease", "0.01"], "from 0.1 to 86400"),
                (["start", "1/2/a", "--lease", "-1"], "not negative"),
                (["stop", "1/2/a", "--grace", "soon"], '"soon"'),
                (["listen", "1/2/a", "--wait", "1.5s"], '"1.5s"'),
                (["listen", "1/2/a", "--timeout", "nan"], '"nan"'),
                (["listen", "1/2/a", "--limit", "0"], "from 1 on"),
                (["listen", "1/2/a", "--pretty", "--json"], "do not go together"),
                (["listen", "1/2/a", "--after", "yesterday"], "--after is neither an entry id"),
                (["history", "1/2/a", "--after", "yesterday"], "--after is no entry id"),
                (["history", "1/2/a", "--before", "yesterday"], "--before is no entry id"),
                (["live", "1/2/a", "--prefix="], "--prefix is empty"),
                (["live", "1/2/a", "--url", "redis://h?colour=red"], "man agx names those"),
                (["run", "1/2/a", "--feed", "morse"], '"morse"'),
                (["run", "1/2/a", "--grace", "-1"], "not negative"),
                (["messages", "1/2/a", "--nodes", "--title"], "do not go together"),
                (["add", "1/2/a"], "--type TYPE is needed"),
                (["add", "1/2/a", "--type", "t", "--body", ""], "leave --body out for none\n"),
                (["ls", "--format", "ag2"], "only sessions of the format agx"),
                (["group", "read", "1/2/a", "--from", "x"], "agx: --from is neither"),
                (["bridge", "morse:x", "agx:1/2/a"], "agx: the format is to be one of"),
                (["add", "1/2/a", "--type", "t", "--lines", "--body", "{}"],
                 "do not go together")):
            with self.subTest(words=words):
                self.fails(2, *words, says=says)

    def test_a_password_as_a_parameter(self):
        # Where else to put it is said in words of the command line.
        self.fails(2, "live", "1/2/a", "--url", "redis://h?password=x",
                   says="write it before the '@'\n")

    def test_session_names(self):
        for name in ("", "1", "1/2", "1/2/", "a/2/x", "1/b/x", "1.0/2/x", "/2/x", "1//x",
                     " 1/2/x", "9223372036854775808/2/x", "1/2/x:live", "1/2/" + "x" * 513,
                     b"1/2/\xff"):
            with self.subTest(name=name):
                self.fails(2, "start", name)
        for scope in ("x", "1/x", "1/2/x", "-9223372036854775808"):
            with self.subTest(scope=scope):
                self.fails(2, "ls", scope)

    def test_names_with_any_character(self):
        for name, key in (("-1/-2/x", "agx:-1:-2:x"), ("1/2/a/b//c", "agx:1:2:a/b//c"),
                          ("1/2/a:b*c?[d]", "agx:1:2:a:b*c?[d]"),
                          ("1/2/--help", "agx:1:2:--help"), ("1/2/\n\U0001f600", "agx:1:2:\n😀")):
            with self.subTest(name=name):
                self.ok("start", name)
                self.assertEqual(self.redis("EXISTS", key + ":live"), 1)
                self.ok("stop", name)

    def test_where_options_may_stand(self):
        for i, words in enumerate((
                ["--url", server.url, "--prefix", "p", "start", "N"],
                ["--url=" + server.url, "--prefix=p", "start", "N"],
                ["start", "--url", server.url, "N", "--prefix", "p"],
                ["start", "--prefix=p", "--url", server.url, "--", "N"],
                ["--prefix", "q", "--url", server.url, "--", "start", "N"],
                ["--prefix", "q", "start", "N", "--url=" + server.url, "--prefix=p"])):
            with self.subTest(words=words):
                session = "where%d" % i
                words = ["1/2/" + session if w == "N" else w for w in words]
                self.ok(*words, url="redis://127.0.0.1:1")
                prefix = "q" if "q" in words and "--prefix=p" not in words else "p"
                self.assertEqual(self.redis("EXISTS", "%s:1:2:%s:live" % (prefix, session)), 1)

    def test_unreachable(self):
        for command in (["start", "1/2/a"], ["stop", "1/2/a"], ["cancel", "1/2/a"],
                        ["live", "1/2/a"], ["add", "1/2/a", "--type", "t"],
                        ["listen", "1/2/a"], ["run", "1/2/a"], ["messages", "1/2/a"], ["ls"]):
            with self.subTest(command=command):
                self.fails(3, *command, "--url", "unix:///nowhere/at/all", says="/nowhere/at/all")
        self.fails(3, "--url", "redis://127.0.0.1:1", "demo", says="127.0.0.1:1")
        for url in ("gopher://x", "redis://h:port", "redis://h?nonsense=1"):
            self.fails(2, "--url", url, "ls")

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            for command in (["version"], ["--help"], ["add", self.name, "--type", "t"]):
                done = subprocess.run([options.agx] + command, stdout=full,
                                      stderr=subprocess.PIPE, timeout=DEADLINE,
                                      env=environment(AGX_URL=server.url))
                self.assertEqual(done.returncode, 4)
                self.assertIn(b"agx: cannot write to standard output", done.stderr)

    def test_closed_descriptors_do_not_become_connections(self):
        self.ok("start", self.name)
        closed = subprocess.run(
            ["sh", "-c", 'exec "$0" listen "$1" --timeout 0 >&- 2>&- <&-', options.agx, self.name],
            timeout=DEADLINE, env=environment(AGX_URL=server.url))
        self.assertEqual(closed.returncode, 4)
        self.assertEqual(self.redis("XLEN", self.key), 1)


class Control(Case):
    def test_from_start_to_stop(self):
        self.fails(1, "live", self.name)
        self.assertEqual(self.ok("start", self.name), "")
        self.assertEqual(self.ok("live", self.name), "")
        self.assertTrue(1 <= self.redis("PTTL", self.key + ":live") <= 15000)
        [[_, begin]] = self.redis("XRANGE", self.key, "-", "+")
        self.assertEqual(begin, [b"type", b"begin", b"origin", b"opale", b"body",
                                 b'{"session_id": "%s"}' % self.id.encode()])
        identifier = self.ok("add", self.name, "--type", "event", "--body", '{"a": 1}').strip()
        self.ok("add", self.name, "--type=note", "--origin=me")
        [_, [added, event], [_, note]] = self.redis("XRANGE", self.key, "-", "+")
        self.assertEqual(added.decode(), identifier)
        self.assertEqual(event, [b"type", b"event", b"origin", b"cli", b"body", b'{"a": 1}'])
        self.assertEqual(note, [b"type", b"note", b"origin", b"me"])
        self.assertEqual(self.ok("stop", self.name, "--grace", "2.5"), "")
        self.assertEqual(self.redis("XREVRANGE", self.key, "+", "-", "COUNT", "1")[0][1][:2],
                         [b"type", b"end"])
        self.assertTrue(1 <= self.redis("PTTL", self.key) <= 2500)
        self.fails(1, "live", self.name)

    def test_stopping_what_has_ended(self):
        formats = {"agx": (self.name, self.key), "openai-agents": (self.id, self.id),
                   "agent-framework": (self.id, "agent-stream:" + self.id),
                   "ag2": (self.id, "ag2:stream:" + self.id)}
        for of, (name, key) in formats.items():
            with self.subTest(of=of):
                def stop(*more):
                    return ("stop", "--format", of, name) + more
                never = "is not live: it has ended, or never began\n"
                self.fails(1, *stop(), says=name + " " + never)
                self.ok("start", "--format", of, name)
                self.ok(*stop())
                has_end = of in ("agx", "agent-framework")
                again = " has ended already\n" if has_end else " " + never
                before = self.redis("PTTL", key)
                self.fails(1, *stop(), says=name + again)
                self.assertLessEqual(self.redis("PTTL", key), before)
                self.fails(1, *stop("--grace", "3600"), says=name + again)
                if has_end:
                    self.assertGreater(self.redis("PTTL", key), 3000000)
                    self.redis("DEL", key)
                    self.fails(1, *stop(), says=name + " " + never)
        # One that was left without an end is ended all the same.
        self.ok("start", self.name)
        self.ok("cancel", self.name)
        self.ok("stop", self.name)
        self.fails(1, "stop", self.name, says="has ended already")
        self.ok("start", "--format", "agent-framework", self.id)
        self.ok("add", "--format", "agent-framework", self.id, "--type", "error", "--body",
                '{"msg":"x"}')
        self.ok("stop", "--format", "agent-framework", self.id)
        self.fails(1, "stop", "--format", "agent-framework", self.id, says="has ended already")

    def test_start_of_one_that_is_live(self):
        self.ok("start", self.name, "--lease", "60", "--origin", "x")
        self.assertTrue(15000 < self.redis("PTTL", self.key + ":live") <= 60000)
        self.fails(5, "start", self.name)
        self.ok("start", self.name, "--take-over")
        self.assertEqual(self.redis("XLEN", self.key), 1)

    def test_start_afresh(self):
        self.ok("start", self.name)
        self.ok("stop", self.name)
        self.ok("start", self.name)
        self.assertEqual(self.redis("PTTL", self.key), -1)
        self.assertEqual(self.redis("XLEN", self.key), 1)

    def test_lease_runs_out_and_adding_renews_it(self):
        self.ok("start", self.name, "--lease", "0.3")
        wait_for("its end", lambda: agx("live", self.name).returncode == 1)
        self.ok("start", self.name, "--lease", "5")
        self.ok("add", self.name, "--type", "t")
        self.assertTrue(5000 < self.redis("PTTL", self.key + ":live") <= 15000)
        self.ok("add", self.name, "--type", "t", "--lease=100")
        self.assertTrue(15000 < self.redis("PTTL", self.key + ":live") <= 100000)

    def test_stop_and_cancel_of_what_is_not_there(self):
        self.fails(1, "stop", self.name, says=self.name)
        self.fails(1, "cancel", self.name, says="was not live")

    def test_cancel(self):
        self.ok("start", self.name)
        self.assertEqual(self.ok("cancel", self.name), "")
        self.fails(1, "live", self.name)
        self.fails(1, "cancel", self.name)

    def test_a_flag_of_another_program(self):
        self.redis("SET", self.key + ":live", "1")
        self.ok("live", self.name)
        self.ok("add", self.name, "--type", "t")
        self.assertEqual(self.redis("PTTL", self.key + ":live"), -1)

    def test_live_says_so_on_a_terminal(self):
        with Terminal("live", self.name) as terminal:
            self.assertEqual(terminal.end(), (1, "not live\n"))

    def test_a_key_of_another_type(self):
        self.redis("SET", self.key, "in the way")
        self.fails(4, "add", self.name, "--type", "t", says=self.key)


class List(Case):
    def test_filters(self):
        for name in ("7/1/a", "7/1/b", "7/2/c", "8/1/d"):
            self.ok("start", name, "--prefix", "list")
        ls = lambda *words: sorted(self.ok("ls", "--prefix", "list", *words).split())
        self.assertEqual(ls(), ["7/1/a", "7/1/b", "7/2/c", "8/1/d"])
        self.assertEqual(ls("7"), ["7/1/a", "7/1/b", "7/2/c"])
        self.assertEqual(ls("7/1"), ["7/1/a", "7/1/b"])
        self.assertEqual(self.ok("ls", "7/2", "--json", "--prefix", "list"),
                         '{"scope":7,"user":2,"session":"c"}\n')
        self.fails(1, "ls", "9", "--prefix", "list")
        self.fails(1, "ls", "-7", "--prefix", "list")

    def test_names_that_would_not_stay_on_a_line(self):
        for session in ('a\nb', '"quoted"', "\x1b[31m", "é x"):
            self.ok("start", "1/1/" + session, "--prefix", "odd")
        lines = self.ok("ls", "--prefix", "odd").splitlines()
        self.assertEqual(sorted(lines), sorted(
            ['1/1/"a\\u000ab"', '1/1/"\\"quoted\\""', '1/1/"\\u001b[31m"', "1/1/é x"]))
        found = [json.loads(line)["session"]
                 for line in self.ok("ls", "--json", "--prefix", "odd").splitlines()]
        self.assertEqual(sorted(found), sorted(['a\nb', '"quoted"', "\x1b[31m", "é x"]))


class Add(Case):
    def bodies(self):
        return [dict(zip(fields[::2], fields[1::2])).get(b"body")
                for _, fields in self.redis("XRANGE", self.key, "-", "+")]

    def test_body_from_standard_input(self):
        self.ok("add", self.name, "--type", "t", "--body", "-", stdin=b' {"a":\n "\xc3\xa9"}\n')
        self.assertEqual(self.bodies(), [b'{"a":\n "\xc3\xa9"}'])

    def test_bad_bodies(self):
        for body in ("", "{", "{} {}", "nonsense", b'"\xff"', "[" * 513 + "]" * 513):
            with self.subTest(body=body):
                self.fails(2, "add", self.name, "--type", "t", "--body", body)
        self.fails(2, "add", self.name, "--type", "t", "--body", "-", stdin=b'"\0"', says="NUL")
        self.fails(2, "add", self.name, "--type", "", "--body", "{}")
        self.fails(2, "add", self.name, "--type", "t" * 257)
        self.assertEqual(self.redis("EXISTS", self.key), 0)

    def test_lines(self):
        ids = self.ok("add", self.name, "--type", "t", "--lines",
                      stdin=b'1\n\n  \n "two" \r\n{"three":3}').split()
        self.assertEqual(self.bodies(), [b"1", b'"two"', b'{"three":3}'])
        self.assertEqual([entry[0].decode() for entry in self.redis("XRANGE", self.key, "-", "+")],
                         ids)
        self.assertEqual(self.ok("add", self.name, "--type", "t", "--lines"), "")
        self.assertEqual(
            self.ok("add", self.name, "--type", "t", "--lines", "--quiet", stdin=b"4\n"), "")

    def test_many_lines(self):
        lines = b"".join(b'{"n":%d}\n' % n for n in range(20000))
        ids = self.ok("add", self.name, "--type", "t", "--lines", stdin=lines).split()
        self.assertEqual(len(ids), 20000)
        self.assertEqual(self.bodies(), lines.split())

    def test_a_long_line(self):
        body = json.dumps("x" * 1000000).encode()
        self.ok("add", self.name, "--type", "t", "--lines", stdin=body + b"\n1\n")
        self.assertEqual(self.bodies(), [body, b"1"])

    def test_a_bad_line_says_which(self):
        for bad in (b"oops", b'"\xff"', b'"\0"'):
            with self.subTest(bad=bad):
                self.redis("DEL", self.key)
                out = self.fails(2, "add", self.name, "--type", "t", "--lines", says="line 4",
                                 stdin=b"1\n2\n\n" + bad + b"\n5\n")
                self.assertEqual(self.bodies(), [b"1", b"2"])
                self.assertEqual(len(out.split()), 2)

    def test_a_bad_line_is_called_by_its_number_alone(self):
        for words, bad, says in (
                (["--type", "t"], b"{bad", "agx: line 2: body is not valid JSON at byte 1"),
                (["--type", "event", "--format", "agent-framework"], b'{"n":1}',
                 "agx: line 2: the format agent-framework holds text alone")):
            with self.subTest(words=words):
                done = agx("add", "--lines", self.name, *words,
                           stdin=b'{"text":"a"}\n' + bad + b"\n")
                self.assertTrue(done.stderr.decode().startswith(says), done.stderr)
                self.assertEqual(len(done.stdout.split()), 1)

    def test_a_slow_pipe_does_not_wait_for_more(self):
        with Piped("add", self.name, "--type", "t", "--lines") as adding:
            for n in range(3):
                adding.write(b"%d\n4" % n)
                identifier = adding.line()
                self.assertEqual(self.redis("XREVRANGE", self.key, "+", "-", "COUNT", "1")[0][0],
                                 identifier.encode())
                adding.write(b"2\n")
                adding.line()
            self.assertEqual(adding.end()[0], 0)
        self.assertEqual(self.bodies(), [b"0", b"42", b"1", b"42", b"2", b"42"])

    def test_a_silent_pipe_keeps_the_session_live(self):
        self.ok("start", self.name, "--lease", "0.5")
        flag = self.key + ":live"
        with Piped("add", self.name, "--type", "t", "--lines", "--lease", "0.5") as adding:
            renewals, last = 0, 0
            until = time.monotonic() + DEADLINE
            while renewals < 5:
                self.assertLess(time.monotonic(), until)
                left = self.redis("PTTL", flag)
                self.assertNotEqual(left, -2, "it is not live any more")
                renewals += left > last
                last = left
                time.sleep(0.01)
            self.assertEqual(adding.end()[0], 0)

    def test_nobody_reads_the_ids(self):
        with Piped("add", self.name, "--type", "t", "--lines") as adding:
            adding.process.stdout.close()
            adding.process.stdout = None
            for n in range(3):
                adding.write(b"%d\n" % n)
                wait_for("the event", lambda: self.redis("XLEN", self.key) == n + 1)
            status, _, messages = adding.end()
            self.assertEqual((status, messages), (0, ""))


class Listen(Case):
    def test_lines_of_json(self):
        self.write_event("begin", {"session_id": self.id}, origin="opale")
        identifier = self.write_event("event", '{"a": "\\u00e9\n"}'.replace("\n", ""), origin="é")
        self.write_event("odd", b"not json")
        self.write_event("none")
        self.write_event("end")
        lines = [json.loads(line) for line in self.ok("listen", self.name).splitlines()]
        self.assertEqual(lines[1], {"id": identifier, "type": "event", "origin": "é",
                                    "body": {"a": "é"}})
        self.assertEqual([line["body"] for line in lines],
                         [{"session_id": self.id}, {"a": "é"}, "not json", {}])
        # What a script has that has seen no event yet.
        self.assertEqual(self.ok("listen", self.name, "--after", ""), self.ok("listen", self.name))
        lines = self.ok("listen", self.name, "--end").splitlines()
        self.assertEqual(json.loads(lines[-1])["type"], "end")

    def test_follows_at_once(self):
        with Piped("listen", self.name) as listening:
            self.write_event("begin", {})
            self.assertEqual(json.loads(listening.line())["type"], "begin")
            for n in range(5):
                identifier = self.write_event("event", {"n": n})
                self.assertEqual(json.loads(listening.line())["id"], identifier)
            self.write_event("end")
            self.assertEqual(listening.end(), (0, b"", ""))

    def test_a_condition_selects(self):
        self.write_event("begin", {})
        for n in range(4):
            self.write_event("event", {"n": n, "odd": n % 2 == 1})
        self.write_event("end")
        shown = self.ok("listen", self.name, "--where", 'type = "event" and body.odd = true')
        self.assertEqual([json.loads(line)["body"]["n"] for line in shown.splitlines()], [1, 3])
        self.fails(2, "listen", self.name, "--where", "type =", says="byte 6")

    def test_where_to_begin(self):
        first = self.write_event("begin", {})
        second = self.write_event("event", {"n": 2})
        self.write_event("end")
        ids = lambda *words: [json.loads(line)["id"]
                              for line in self.ok("listen", self.name, *words).splitlines()]
        self.assertEqual(ids(), [first, second])
        self.assertEqual(ids("--after", "0"), [first, second])
        self.assertEqual(ids("--after=" + first), [second])
        self.assertEqual(ids("--after", second), [])
        self.assertEqual(ids("--limit", "1"), [first])

    def test_only_new(self):
        self.write_event("begin", {})
        with Piped("listen", self.name, "--after", "new") as listening:
            # It is there when its reading is; until then events are too early for it.
            seen = threading.Event()
            sent = []

            def feed():
                while not seen.is_set() and len(sent) < 1000:
                    with contextlib.closing(Redis(server.path)) as redis:
                        sent.append(redis("XADD", self.key, "*", "type", "event", "origin",
                                          "o").decode())
                    seen.wait(0.05)

            feeder = threading.Thread(target=feed)
            feeder.start()
            try:
                got = json.loads(listening.line())
            finally:
                seen.set()
                feeder.join()
            self.assertEqual(got["type"], "event")
            self.assertIn(got["id"], sent)

    def test_outcomes(self):
        self.fails(1, "listen", self.name, "--wait", "0.1")
        self.fails(1, "listen", self.name, "--wait", "0")
        self.write_event("begin", {})
        self.redis("SET", self.key + ":live", "1")
        self.fails(7, "listen", self.name, "--timeout", "0.2")
        now = agx("listen", self.name, "--timeout", "0")
        self.assertEqual((now.returncode, len(now.stdout.splitlines()), now.stderr), (7, 1, b""))
        self.redis("PEXPIRE", self.key + ":live", "300")
        self.fails(8, "listen", self.name)

    def test_a_gap(self):
        first = self.write_event("begin", {})
        for n in range(5):
            self.write_event("event", {"n": n})
        self.write_event("end")
        self.redis("XTRIM", self.key, "MAXLEN", "3")
        out = self.fails(9, "listen", self.name, "--after", first)
        self.assertEqual([json.loads(line)["body"]["n"] for line in out.splitlines()], [3, 4])

    def test_resumes_where_it_was_killed(self):
        got = []
        sent = [self.write_event("begin", {})]
        with Piped("listen", self.name) as listening:
            for n in range(10):
                sent.append(self.write_event("event", {"n": n}))
            for _ in range(6):
                got.append(json.loads(listening.line())["id"])
            listening.process.kill()
        for n in range(5):
            sent.append(self.write_event("event", {"n": n}))
        self.write_event("end")
        rest = self.ok("listen", self.name, "--after", got[-1])
        got += [json.loads(line)["id"] for line in rest.splitlines()]
        self.assertEqual(got, sent)

    def test_signals(self):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            with self.subTest(signal=number), Piped("listen", self.name) as listening:
                self.write_event("event", {})
                listening.line()
                listening.process.send_signal(number)
                listening_status, _, messages = listening.end()
                self.assertEqual((listening_status, messages), (status, ""))

    def test_verbose_tells_of_connections(self):
        done = subprocess.run([options.agx, "live", self.name, "--verbose"], capture_output=True,
                              timeout=DEADLINE, env=environment(AGX_URL=server.url))
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr.decode(),
                         r"^agx: connected to unix://%s, (Redis|Valkey) \d+\.\d+\n$" % re.escape(server.path))

    def test_a_signal_while_nothing_is_there(self):
        with Piped("listen", self.name, "--wait=never", "--timeout=never", "--verbose") as waiting:
            wait_for("it to wait", lambda: b"name=agx" in self.redis("CLIENT", "LIST"))
            waiting.process.send_signal(signal.SIGINT)
            self.assertEqual(waiting.end()[0], 130)

    def test_a_reader_that_has_seen_enough(self):
        with Piped("listen", self.name, "--timeout=never") as listening:
            self.write_event("begin", {})
            listening.line()
            listening.process.stdout.close()
            listening.process.stdout = None
            # Nothing more is written: it notices by itself.
            status, _, messages = listening.end()
            self.assertEqual((status, messages), (0, ""))

    def test_a_full_pipe_does_not_hold_up_a_signal(self):
        for _ in range(200):
            self.write_event("event", json.dumps("x" * 1000))
        with Piped("listen", self.name) as listening:
            listening.line()
            listening.process.send_signal(signal.SIGTERM)
            self.assertEqual(listening.process.wait(DEADLINE), 143)

    def test_the_store_dies_and_comes_back(self):
        own = Server(keeps="yes")
        self.addCleanup(own.close)
        add = ["XADD", "agx:1:1:x", "*", "type", "event", "origin", "o"]
        with Piped("listen", "1/1/x", url=own.url) as listening:
            sent, got = [], []
            for _ in range(3):
                with contextlib.closing(Redis(own.path)) as redis:
                    sent += [redis(*add).decode() for _ in range(20)]
                got += [json.loads(listening.line())["id"] for _ in range(10)]
                own.kill()
                own.start()
            got += [json.loads(listening.line())["id"] for _ in range(30)]
            self.assertEqual(got, sent)

    def test_the_store_dies_for_good(self):
        own = Server()
        self.addCleanup(own.close)
        with contextlib.closing(Redis(own.path)) as redis:
            redis("XADD", "agx:1:1:x", "1-1", "type", "begin", "origin", "o")
        with Piped("listen", "1/1/x", url=own.url + "?reconnect_timeout=300") as listening:
            self.assertEqual(json.loads(listening.line())["id"], "1-1")
            own.kill()
            status, _, messages = listening.end()
            self.assertEqual(status, 3)
            self.assertTrue(messages.startswith("agx: "), messages)


TEXT = [
    {"idx": 0, "event": "llm-begin"},
    {"idx": 0, "event": "part_start", "event_idx": 0, "part_kind": "thinking", "content": "Let"},
    {"idx": 0, "event": "part_delta", "event_idx": 0, "part_delta_kind": "thinking",
     "content_delta": " me see."},
    {"idx": 0, "event": "part_start", "event_idx": 1, "part_kind": "tool-call",
     "tool_name": "search", "tool_call_id": "c1", "args": {"q": "a b", "n": 12345678901234567}},
    {"idx": 0, "event": "llm-end"},
    {"idx": 1, "event": "llm-begin"},
    {"idx": 1, "event": "part_start", "part_kind": "tool-return", "tool_name": "search",
     "tool_call_id": "c1", "content": "one\n\ntwo"},
    {"idx": 1, "event": "part_start", "event_idx": 0, "part_kind": "text", "content": ""},
    {"idx": 1, "event": "part_delta", "event_idx": 0, "part_delta_kind": "text",
     "content_delta": "It"},
    {"idx": 1, "event": "answer"},
    {"idx": 1, "event": "part_delta", "event_idx": 0, "part_delta_kind": "text",
     "content_delta": " is.\n\nSo"},
    {"idx": 1, "event": "part_delta", "event_idx": 0, "part_delta_kind": "text",
     "content_delta": " there"},
    {"idx": 1, "event": "llm-end"},
]


def delta(text):
    return {"idx": 0, "event": "part_delta", "event_idx": 0, "part_delta_kind": "text",
            "content_delta": text}


class History(Case):
    """agx history and agx info."""

    def numbers(self, *words):
        shown = self.ok("history", self.name, *words)
        return [json.loads(line)["body"].get("n") for line in shown.splitlines()]

    def test_what_is_there(self):
        ids = [self.write_event("event", {"n": n}) for n in range(5)]
        self.assertEqual(self.numbers(), [0, 1, 2, 3, 4])
        self.assertEqual(self.numbers("--after", ids[1]), [2, 3, 4])
        self.assertEqual(self.numbers("--before", ids[3], "--after", ids[0]), [1, 2])
        self.assertEqual(self.numbers("--count", "2"), [0, 1])
        self.assertEqual(self.numbers("--reverse", "--count", "2"), [4, 3])
        self.assertEqual(self.numbers("--reverse", "--where", "body.n < 2"), [1, 0])
        line = self.ok("history", self.name, "--count=1")
        self.assertEqual(line, '{"id":"%s","type":"event","origin":"other","body":{"n": 0}}\n'
                         % ids[0])

    def test_begin_and_end_are_events_like_others(self):
        self.write_session({"n": 1})
        self.write_event("event", {"n": 2})
        shown = self.ok("history", self.name)
        self.assertEqual([json.loads(line)["type"] for line in shown.splitlines()],
                         ["begin", "event", "end", "event"])

    def test_many_events(self):
        lines = "".join('{"n":%d}\n' % n for n in range(2000)).encode()
        self.ok("add", self.name, "--type", "event", "--lines", "--quiet", stdin=lines)
        self.assertEqual(self.numbers(), list(range(2000)))
        self.assertEqual(self.numbers("--reverse", "--count", "700"),
                         list(range(1999, 1299, -1)))
        self.assertEqual(self.numbers("--where", "body.n >= 1500"), list(range(1500, 2000)))

    def test_nothing_is_there(self):
        self.fails(1, "history", self.name, says="no such events")
        self.fails(1, "info", self.name, says="is not there")
        self.write_event("event", {})
        self.fails(1, "history", self.name, "--where", 'type = "other"', says="no such events")
        self.fails(1, "history", self.name, "--before", "0")

    def test_wrong_words(self):
        for words in (["--after", "new"], ["--before", "x"], ["--where", "type ="],
                      ["--count", "0"], ["--count", "x"], ["--json", "--pretty"]):
            self.fails(2, "history", self.name, *words)
        self.redis("SET", self.key, "text")
        self.fails(4, "history", self.name)
        self.fails(4, "info", self.name)

    def test_for_people(self):
        self.write_session({"event": "part_start", "part_kind": "text", "content": "Hello"})
        shown = self.ok("history", self.name, "--pretty")
        self.assertIn("Hello", shown)
        self.assertTrue(shown.endswith("\n"))
        with Terminal("history", self.name, "--count", "2") as terminal:
            status, seen = terminal.end()
            self.assertEqual(status, 0)
            self.assertIn("Hello", seen)

    def test_a_reader_that_has_seen_enough(self):
        lines = b'{"text":"' + b"x" * 1000 + b'"}\n'
        self.ok("add", self.name, "--type", "event", "--lines", "--quiet", stdin=lines * 2000)
        with Piped("history", self.name) as reading:
            reading.line()
            reading.process.stdout.close()
            self.assertEqual(reading.process.wait(DEADLINE), 0)

    def test_info(self):
        first = self.write_event("begin", {})
        last = self.write_event("event", {})
        self.assertEqual(json.loads(self.ok("info", self.name)), {
            "length": 2, "first_id": first, "last_id": last, "last_generated_id": last,
            "live": False, "expire_ms": None, "groups": 0})
        self.redis("XGROUP", "CREATE", self.key, "readers", "0")
        self.redis("SET", self.key + ":live", "x")
        self.redis("PEXPIRE", self.key, 100000)
        told = json.loads(self.ok("info", self.name))
        self.assertEqual((told["live"], told["groups"]), (True, 1))
        self.assertTrue(0 < told["expire_ms"] <= 100000)
        self.redis("PERSIST", self.key)
        self.redis("XTRIM", self.key, "MAXLEN", "0")
        lines = ("length 0\nfirst_id none\nlast_id none\nlast_generated_id %s\nlive true\n"
                 "expire_ms none\ngroups 1\n") % last
        with Terminal("info", self.name) as terminal:
            self.assertEqual(terminal.end(), (0, lines))
        self.assertEqual(self.ok("info", self.name, "--pretty"), lines)
        with Terminal("info", self.name, "--json") as terminal:
            self.assertEqual(json.loads(terminal.end()[1])["length"], 0)
        self.fails(2, "info", self.name, "--pretty", "--json", says="do not go together")


class Pretty(Case):
    def pretty(self, *words, **more):
        text = self.ok("listen", self.name, "--pretty", *words, **more)
        text = re.sub(r"began \d\d:\d\d:\d\d", "began T", text)
        return re.sub(r"after \d+\.\d s", "after D", text)

    def test_a_run(self):
        self.write_session(*TEXT)
        self.assertEqual(self.pretty(), (
            "▶ began T\n"
            "∴ Let me see.\n"
            '→ search q="a b" n=12345678901234567\n'
            "← search: one two\n"
            "● It is.\n"
            "\n"
            "  So there\n"
            "■ ended after D\n"))

    def test_colours(self):
        self.write_session(*TEXT)
        text = self.pretty("--color=always")
        self.assertIn("\x1b[2m∴ \x1b[0m\x1b[2mLet\x1b[0m\x1b[2m me see.\x1b[0m\n", text)
        self.assertIn("● It is.", text)
        self.assertEqual(re.sub("\x1b\\[[0-9]*m", "", text), self.pretty())

    def test_ends(self):
        self.write_event("begin", {})
        self.write_event("error", {"msg": "canceled"})
        self.write_event("end")
        self.assertEqual(self.pretty(), "▶ began T\n✗ canceled\n■ canceled after D\n")
        self.redis("DEL", self.key)
        self.write_event("error", {"msg": "crashed - boom\nat line 1"})
        self.write_event("end")
        self.assertEqual(self.pretty(),
                         "✗ crashed - boom\n  at line 1\n■ ended with an error\n")

    def test_what_it_does_not_know(self):
        self.write_event("event", '{"event": "retry", "n": 1.00}')
        self.write_event("event", {"event": "part_delta", "content_delta": 7})
        self.write_event("custom", b"not json")
        self.write_event("info", {"msg": "hello"})
        self.write_event("info", [1, 2])
        self.write_event("error", {"code": 1})
        self.write("field", "value")
        self.write_event("end")
        self.assertEqual(self.pretty().splitlines(), [
            '· event (other) {"event":"retry","n":1.00}',
            '· event (other) {"event":"part_delta","content_delta":7}',
            "· custom (other) not json",
            "i hello",
            "i [1, 2]",
            '✗ {"code":1}',
            "·  () {}",
            "■ ended with an error"])

    def test_nothing_reaches_the_terminal_raw(self):
        evil = "".join(map(chr, list(range(0x20)) + [0x7F] + list(range(0x80, 0xA0)))) + \
            "\u202e\u2066\u2028\ufff9"
        for kind in ("begin", "event", "error", "info", "end", evil):
            for body in ({"msg": evil}, {"event": evil}, evil, {evil: evil},
                         {"event": "part_start", "part_kind": "text", "content": evil},
                         {"event": "part_start", "part_kind": "tool-call", "tool_name": evil,
                          "args": {evil: evil}},
                         {"event": "part_start", "part_kind": "tool-call", "tool_name": evil,
                          "args": evil},
                         {"event": "part_start", "part_kind": "tool-return", "tool_name": evil,
                          "content": evil},
                         {"event": "part_delta", "part_delta_kind": "thinking",
                          "content_delta": evil}):
                if kind == "end":
                    continue
                self.write_event(kind, json.dumps(body), origin=evil)
                self.write_event(kind, json.dumps(body, ensure_ascii=False), origin=evil)
        self.write_event(b"\xff\x1b", b"\xc3\x28 \x1b[31m \xe2\x82", origin=b"\x9b")
        self.write_event("end")
        for form in ("--pretty", "--json"):
            with self.subTest(form=form):
                status, text = self.on_terminal(form, "--color=never")
                self.assertEqual(status, 0)
                bad = [c for c in text.replace("\n", "") if ord(c) < 0x20 or
                       0x7F <= ord(c) <= 0x9F or c in "\u202e\u2066\u2028\ufff9"]
                self.assertEqual(bad, [])

    def on_terminal(self, *words, **more):
        with Terminal("listen", self.name, *words, **more) as terminal:
            return terminal.end()

    def test_characters_cut_between_events(self):
        raw = "é日😀".encode()
        self.write_event("event", {"idx": 0, "event": "part_start", "event_idx": 0,
                                   "part_kind": "text", "content": ">"})
        for i in range(len(raw)):
            body = json.dumps(delta("X")).encode().replace(b"X", raw[i:i + 1])
            self.write_event("event", body)
        self.write_event("event", json.dumps(delta("X")).encode().replace(b"X", b"\xe6\x97"))
        self.write_event("event", delta("a\r"))
        self.write_event("event", delta("\nb\rc"))
        self.write_event("end")
        self.assertEqual(self.pretty(), "● >é日😀\\xe6\\x97a\n  b\\rc\n■ ended\n")

    def test_an_escaped_nul_hides_nothing(self):
        self.write_event("event", '{"event":"part_start","part_kind":"text",'
                                  '"content":"a\\u0000b\\\\u0000"}')
        self.write_event("end")
        self.assertEqual(self.pretty(), "● a\ufffdb\\u0000\n■ ended\n")

    def test_parts_that_take_turns(self):
        self.write_event("event", {"idx": 0, "event": "part_start", "event_idx": 0,
                                   "part_kind": "text", "content": "one"})
        self.write_event("info", {"msg": "by the way"})
        self.write_event("event", delta(" two"))
        self.write_event("event", dict(delta("other"), event_idx=1))
        self.write_event("end")
        self.assertEqual(self.pretty(), "● one\ni by the way\n  two\n● other\n■ ended\n")

    def test_width(self):
        self.write_event("event", {"event": "part_start", "part_kind": "tool-return",
                                   "tool_name": "t", "content": "日本" * 100})
        self.write_event("event", {"event": "part_start", "part_kind": "text",
                                   "content": "some words " * 8 + "x" * 70})
        self.write_event("end")
        for columns in (1, 2, 3, 10, 20, 33, 60):
            with self.subTest(columns=columns):
                lines = self.pretty(env={"COLUMNS": str(columns)}).splitlines()
                wide = lambda line: sum(2 if c in "日本" else 1 for c in line)
                if columns >= 20:
                    self.assertLess(max(map(wide, lines)), columns)
                    self.assertIn("日…", lines[0].replace("本", "日"))
                self.assertEqual("".join(lines[1:-1]).replace(" ", "").strip("●"),
                                 "somewords" * 8 + "x" * 70)

    def test_locales_without_utf8(self):
        self.write_session(*TEXT)
        text = self.pretty(env={"LC_ALL": "C"})
        self.assertTrue(text.isascii(), text)
        self.assertIn("\n* It is.", text)
        self.assertIn("▶", self.pretty(env={"LC_ALL": "C.UTF-8"}))

    def test_a_terminal_gets_colour_and_the_pretty_form(self):
        self.write_session(*TEXT)
        status, text = self.on_terminal()
        self.assertEqual(status, 0)
        self.assertIn("\x1b[2m∴ ", text)
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            status, text = self.on_terminal(env=env)
            self.assertNotIn("\x1b", text)
            self.assertIn("∴ Let me see.", text)
        self.assertIn("\x1b", self.on_terminal("--color=always", env={"NO_COLOR": "1"})[1])
        self.assertNotIn("\x1b", self.on_terminal("--color=never")[1])
        status, text = self.on_terminal("--json")
        self.assertEqual([json.loads(line)["type"] for line in text.splitlines()],
                         ["begin"] + ["event"] * len(TEXT))
        lines = self.ok("listen", self.name, "--color=always").splitlines()
        self.assertEqual(json.loads(lines[0])["type"], "begin")

    def test_json_on_a_terminal_is_the_same_json(self):
        body = {"a": "\x7f\x9b\u202e", "b": ["\t", "é"]}
        self.write_event("event", json.dumps(body, ensure_ascii=False))
        self.write_event("end")
        status, text = self.on_terminal("--json")
        self.assertEqual((status, json.loads(text)["body"]), (0, body))

    def test_text_grows_in_place(self):
        with Terminal("listen", self.name, env={"NO_COLOR": "1"}) as terminal:
            self.write_event("event", {"idx": 0, "event": "part_start", "event_idx": 0,
                                       "part_kind": "text", "content": "One"})
            self.assertTrue(terminal.until("● One").endswith("● One"))
            self.write_event("event", delta(" two"))
            self.assertTrue(terminal.until("● One two").endswith("two"))
            self.write_event("end")
            self.assertEqual(terminal.end(), (0, "● One two\n■ ended\n"))

    def test_resizing(self):
        with Terminal("listen", self.name, columns=100, env={"NO_COLOR": "1"}) as terminal:
            self.write_event("info", {"msg": "x" * 90})
            terminal.until("x" * 90 + "\n")
            terminal.resize(30)
            self.write_event("info", {"msg": "y" * 90})
            self.write_event("end")
            self.assertIn("\ni " + "y" * 26 + "…\n", terminal.end()[1])

    def test_ctrl_c(self):
        with Terminal("listen", self.name, env={"NO_COLOR": "1"}) as terminal:
            identifier = self.write_event("event", {"idx": 0, "event": "part_start",
                                                    "event_idx": 0, "part_kind": "text",
                                                    "content": "half a"})
            terminal.until("half a")
            terminal.key(b"\x03")
            status, text = terminal.end()
            self.assertEqual(status, 130)
            self.assertIn("\nagx: to go on from here: the same command with --after %s\n" %
                          identifier, text)


def sse(*events):
    """A model's stream: events, each with a name if it is a pair."""
    out = ""
    for event in events:
        name, data = event if isinstance(event, tuple) else ("", event)
        data = data if isinstance(data, str) else json.dumps(data)
        out += ("event: %s\n" % name if name else "") + "data: %s\n\n" % data
    return out.encode()


def chat_delta(finish_reason=None, **delta):
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def named(*events):
    return sse(*[(event["type"], event) for event in events])


CHAT = sse(chat_delta(role="assistant", content=""), chat_delta(reasoning_content="Hm."),
           chat_delta(content="It is"), chat_delta(content=" so."),
           chat_delta("stop"), "[DONE]")
RESPONSES = named(
    {"type": "response.created", "response": {"id": "r1", "model": "m"}},
    {"type": "response.output_item.added", "output_index": 0,
     "item": {"type": "message", "id": "m1", "role": "assistant", "content": []}},
    {"type": "response.content_part.added", "item_id": "m1", "output_index": 0,
     "content_index": 0, "part": {"type": "output_text", "text": ""}},
    {"type": "response.output_text.delta", "item_id": "m1", "output_index": 0,
     "content_index": 0, "delta": "It is"},
    {"type": "response.output_text.delta", "item_id": "m1", "output_index": 0,
     "content_index": 0, "delta": " so."},
    {"type": "response.output_text.done", "item_id": "m1", "output_index": 0,
     "content_index": 0, "text": "It is so."},
    {"type": "response.completed", "response": {"id": "r1", "model": "m", "status": "completed"}})
ANTHROPIC = named(
    {"type": "message_start", "message": {"id": "a1", "type": "message", "role": "assistant",
                                          "model": "m", "content": [], "usage": {}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "It is"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " so."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
    {"type": "message_stop"})


class Run(Case):
    def entries(self):
        """What is in the store: types, and the bodies' own words."""
        out = []
        for _, fields in self.redis("XRANGE", self.key, "-", "+"):
            entry = dict(zip(fields[::2], fields[1::2]))
            body = json.loads(entry.get(b"body", b"{}"))
            out.append(body.get("event") or body.get("msg") or entry[b"type"].decode())
        return out

    def conversation(self):
        text = self.redis("GET", self.key + ":messages")
        return None if text is None else json.loads(text)

    def canceled(self, run, status):
        run.process.wait(DEADLINE)  # before its input ends
        done, out, message = run.end()
        self.assertEqual((done, out), (status, b""), message)
        self.assertEqual(self.entries()[-2:], ["canceled", "end"])
        self.assertEqual(self.redis("EXISTS", self.key + ":live"), 0)
        return message

    def test_three_formats(self):
        for words, stream in (([], CHAT), (["--feed", "openai-chat"], CHAT),
                              (["--feed", "openai-responses"], RESPONSES),
                              (["--feed", "anthropic"], ANTHROPIC)):
            with self.subTest(words=words):
                message = json.loads(self.ok("run", self.name, *words, stdin=stream))
                self.assertEqual((message["kind"], message["model_name"]), ("response", "m"))
                self.assertEqual([p["content"] for p in message["parts"]
                                  if p["part_kind"] == "text"], ["It is so."])
                entries = self.entries()
                self.assertEqual(entries[:2] + entries[-2:], ["begin", "llm-begin", "llm-end", "end"])
                self.assertEqual(entries.count("answer"), 1)
                self.assertIsNone(self.conversation())
                self.assertEqual(self.ok("run", self.name, "--quiet", *words, stdin=stream), "")

    def test_nothing_reaches_the_terminal_raw(self):
        evil = "\x9b\u202e"
        stream = sse(*[json.dumps(one, ensure_ascii=False) for one in (
            chat_delta(role="assistant", content="It " + evil), chat_delta("stop"))], "[DONE]")
        self.assertIn(evil, self.ok("run", self.name, stdin=stream))
        with tempfile.TemporaryFile() as file:
            file.write(stream)
            file.seek(0)
            with Terminal("run", self.name, stdin=file) as terminal:
                status, text = terminal.end()
        self.assertEqual((status, [c for c in text if c in evil]), (0, []))
        self.assertEqual(json.loads(text)["parts"][0]["content"], "It " + evil)

    def test_how_long_its_events_stay(self):
        for words, least, most in (([], 2500, 5000), (["--grace", "2.5"], 1, 2500),
                                   (["--grace=3600"], 5000, 3600000)):
            with self.subTest(words=words):
                self.ok("run", self.name, *words, stdin=CHAT)
                self.assertTrue(least < self.redis("PTTL", self.key) <= most)

    def test_the_conversation_grows_if_asked(self):
        first = json.loads(self.ok("run", self.name, "--save", stdin=CHAT))
        second = json.loads(self.ok("run", self.name, "--save", "--quiet", "--feed", "anthropic",
                                    stdin=ANTHROPIC) or "{}")
        self.assertEqual(second, {})
        self.ok("run", self.name, stdin=CHAT)
        kept = self.conversation()
        self.assertEqual(len(kept), 2)
        self.assertEqual(kept[0], first)

    def test_streams_that_are_none(self):
        for stream, says in ((b"", ""), (b"\n\n", ""), (b"<html>", "no event stream"),
                             (b'{"error": {"message": "quota"}}', "quota"),
                             (CHAT[:-60], "broke off"),
                             (sse(chat_delta(content="Well"), {"error": {"message": "busy"}}),
                              "busy"),
                             (b"data: {\n\n", "not JSON")):
            with self.subTest(stream=stream[:40]):
                out = self.fails(12, "run", self.name, "--save", stdin=stream, says=says)
                entries = self.entries()
                self.assertTrue(entries[-2].startswith("crashed - "), entries)
                self.assertEqual(entries[-1], "end")
                self.assertIsNone(self.conversation())
                if b"content" in stream:  # what there was of it
                    self.assertEqual(json.loads(out)["kind"], "response")

    def test_text_is_there_at_once(self):
        with Piped("run", self.name) as run, \
                Piped("listen", self.name, "--wait", "never") as listen:
            for piece in (CHAT[:200], CHAT[200:len(CHAT) - 80]):
                run.write(piece)
            wait_for("the text", lambda: "so." in listen.line())
            run.write(CHAT[len(CHAT) - 80:])
            status, out, _ = run.end()
            self.assertEqual(status, 0)
            self.assertEqual(out.count(b"\n"), 1)
            self.assertEqual(listen.end()[0], 0)

    def begun(self, run):
        run.write(CHAT[:300])
        wait_for("the run", lambda: self.redis("XLEN", self.key) > 1)

    def test_a_cancel_while_the_input_is_silent(self):
        with Piped("run", self.name) as run:
            self.begun(run)
            self.ok("cancel", self.name)
            self.assertIn("cancel", self.canceled(run, 10))

    def test_signals_while_the_input_is_silent(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number=number), Piped("run", self.name) as run:
                self.redis("DEL", self.key)
                self.begun(run)
                run.process.send_signal(number)
                self.assertEqual(self.canceled(run, 128 + number), "")

    def test_ctrl_c_that_ends_the_input_too(self):
        # As of all that stands in a pipeline.
        for _ in range(10):
            with Piped("run", self.name) as run:
                self.redis("DEL", self.key)
                self.begun(run)
                run.process.send_signal(signal.SIGINT)
                run.process.stdin.close()
                run.process.stdin = None
                self.assertEqual(self.canceled(run, 130), "")

    def test_taken_over(self):
        with Piped("run", self.name) as run:
            self.begun(run)
            self.ok("start", self.name, "--take-over")
            run.process.wait(DEADLINE)
            status, out, message = run.end()
            self.assertEqual((status, out), (11, b""))
            self.assertIn("taken", message)
            self.assertEqual(self.redis("EXISTS", self.key + ":live"), 1)
            self.assertNotIn("end", self.entries())
        self.fails(5, "run", self.name, stdin=CHAT)

    def test_input_that_cannot_be_read(self):
        folder = os.open("/", os.O_RDONLY)
        done = subprocess.run([options.agx, "run", self.name], stdin=folder, capture_output=True,
                              timeout=DEADLINE, env=environment(AGX_URL=server.url))
        os.close(folder)
        self.assertEqual(done.returncode, 12)
        self.assertIn(b"cannot read standard input", done.stderr)
        self.assertEqual(self.entries()[-1], "end")


class MessagesOfASession(Case):
    def keep(self, messages):
        self.redis("SET", self.key + ":messages", json.dumps(messages, ensure_ascii=False))

    def test_what_is_kept(self):
        self.fails(1, "messages", self.name, says="has no conversation")
        kept = [{"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "Why\n is it?"}],
                 "x": 1.50},
                {"kind": "response", "parts": [{"part_kind": "text",
                                                "content": "\x1b[2J\x7f\x9b\u202eSo."}]}]
        self.keep(kept)
        self.assertEqual(self.ok("messages", self.name),
                         json.dumps(kept, ensure_ascii=False) + "\n")
        self.assertEqual(self.ok("messages", self.name, "--title"), "Why is it?\n")
        [node] = json.loads(self.ok("messages", self.name, "--nodes"))
        self.assertEqual([part["part_kind"] for part in node["parts"]], ["user-prompt", "text"])
        with Terminal("messages", self.name) as terminal:
            status, text = terminal.end()
            self.assertEqual(status, 0)
            self.assertEqual([c for c in text if c in "\x1b\x7f\x9b\u202e"], [])
            self.assertEqual(json.loads(text.replace("\n", "")), kept)

    def test_what_is_no_conversation(self):
        self.keep([])
        self.fails(1, "messages", self.name)
        self.keep([{"kind": "response", "parts": []}])
        self.assertEqual(self.ok("messages", self.name, "--title"), "No title\n")
        self.redis("SET", self.key + ":messages", "{")
        self.fails(2, "messages", self.name)
        self.redis("DEL", self.key + ":messages")
        self.redis("LPUSH", self.key + ":messages", "x")
        self.fails(4, "messages", self.name)


class Demo(Case):
    def check(self, text):
        for part in ("umbrella", "∴ The question is", "→ get_forecast city=", "← get_forecast:",
                     "● Yes,", "a second listener joins late", "both listeners got the same",
                     "┄ somebody else cancels", "✗ canceled", "■ canceled after", "the producer knew"):
            self.assertIn(part, text)

    def test_in_a_pipe(self):
        text = self.ok("demo")
        self.check(text)
        self.assertNotIn("\x1b", text)

    def test_again_and_again(self):
        for _ in range(10):
            self.ok("demo")

    def test_does_not_look_for_a_server(self):
        self.ok("demo", url="redis://127.0.0.1:1")

    def test_on_a_redis(self):
        self.check(self.ok("demo", "--url", server.url, "--prefix", "demo"))
        for key in self.redis("KEYS", "demo:*"):
            self.assertGreaterEqual(self.redis("PTTL", key), 0, key)

    def test_on_terminals(self):
        for columns in (5, 30, 200):
            with Terminal("demo", "--fast", columns=columns) as terminal:
                status, text = terminal.end()
                self.assertEqual(status, 0, text)
                self.assertIn("\x1b[2m", text)
                lines = re.sub("\x1b\\[[0-9]*m", "", text).splitlines()
                if columns == 30:
                    self.assertLess(max(map(len, lines)), columns)

    def test_ctrl_c(self):
        with Terminal("demo") as terminal:
            terminal.until("∴ ")
            terminal.resize(40)
            terminal.key(b"\x03")
            self.assertEqual(terminal.end()[0], 130)

    def test_a_reader_that_has_seen_enough(self):
        with Piped("demo") as demo:
            demo.line()
            demo.process.stdout.close()
            demo.process.stdout = None
            status, _, messages = demo.end()
            self.assertEqual((status, messages), (0, ""))


class Groups(Case):
    """agx group."""

    def lines(self, *words):
        return [json.loads(line) for line in self.ok(*words).splitlines()]

    def group(self, action, *words):
        return ("group", action, self.name) + words

    def test_reading_and_acknowledging(self):
        ids = [self.write_event("event", {"n": n}) for n in range(3)]
        first = self.lines(*self.group("read", "--consumer", "me", "--count", "2"))
        self.assertEqual([event["id"] for event in first], ids[:2])
        self.assertEqual(first[0]["body"], {"n": 0})
        pending = self.lines(*self.group("pending"))
        self.assertEqual([(event["id"], event["consumer"], event["attempts"])
                          for event in pending], [(ids[0], "me", 1), (ids[1], "me", 1)])
        self.assertEqual(self.ok(*self.group("ack", ids[0], "1-1")), "1\n")
        self.assertEqual(self.fails(1, *self.group("ack", ids[0])), "0\n")
        again = self.lines(*self.group("read", "--pending", "--consumer", "me"))
        self.assertEqual([event["id"] for event in again], ids[1:2])
        claimed = self.lines(*self.group("claim", "--consumer", "other", "--idle", "0"))
        self.assertEqual([event["id"] for event in claimed], ids[1:2])
        claimed = self.lines(*self.group("claim", ids[1], "--consumer", "third"))
        self.assertEqual([event["id"] for event in claimed], ids[1:2])
        self.assertEqual([event["consumer"] for event in self.lines(*self.group("pending"))],
                         ["third"])
        self.assertEqual(self.lines(*self.group("pending", "--consumer", "third"))[0]["id"],
                         ids[1])
        self.fails(1, *self.group("claim", "--idle", "1000"), says="could be claimed")
        info, = self.lines(*self.group("info"))
        self.assertEqual((info["length"], info["pending"], info["lag"], info["dead_letters"]),
                         (3, 1, 1, 0))
        self.assertIn("third", [consumer["name"] for consumer in info["consumers"]])

    def test_an_option_of_another_action_is_refused(self):
        # Whose each option is.
        of = {"--consumer=c": "read claim pending process delete", "--from=new": "read process",
              "--count=1": "read claim pending dlq", "--block=0": "read", "--pending": "read",
              "--idle=1": "claim pending process", "--retries=1": "process",
              "--limit=1": "process", "--timeout=0": "process",
              "--dead-letters=k": "info process dlq", "--replay": "dlq", "--delete": "dlq",
              "--all": "dlq", "--force": "delete", "--pretty": "read claim pending info dlq",
              "--json": "read claim pending info dlq"}
        operands = {"ack": ["1-1"], "process": ["--timeout=0", "true"],
                    "delete": ["--group", "agents"]}
        alone = {("dlq", "--all"): ["--delete"], ("dlq", "--replay"): ["1-1"],
                 ("dlq", "--delete"): ["1-1"]}
        for option, whose in of.items():
            name = option.split("=")[0]
            for action in ("read", "ack", "claim", "pending", "info", "process", "dlq", "delete"):
                with self.subTest(option=option, action=action):
                    words = self.group(action, option, *operands.get(action, []),
                                       *alone.get((action, name), []))
                    refusal = "group %s has no %s; it goes with %s\n" % (
                        action, name, ", ".join(whose.split()))
                    if action in whose.split():
                        self.assertNotEqual(agx(*words).returncode, 2)
                    else:
                        self.fails(2, *words, says=refusal)

    def test_who_reads_if_nobody_is_named(self):
        ids = [self.write_event("event") for _ in range(2)]
        self.ok(*self.group("read", "--count", "1"))
        self.ok(*self.group("read"))
        # One name, which one can come back to.
        info, = self.lines(*self.group("info"))
        self.assertEqual([(one["name"], one["pending"]) for one in info["consumers"]],
                         [("cli", 2)])
        pending = self.lines(*self.group("read", "--pending"))
        self.assertEqual([event["id"] for event in pending], ids)

    def test_a_claim_leaves_alone_who_is_at_work(self):
        written = self.write_event("event")
        self.ok(*self.group("read", "--consumer", "me"))
        self.fails(1, *self.group("claim"), says="300.0 s ago or longer, see --idle\n")
        self.assertEqual(self.lines(*self.group("pending"))[0]["consumer"], "me")
        self.redis("XCLAIM", self.key, "agents", "me", "0", written, "IDLE", "300001")
        self.assertEqual(len(self.lines(*self.group("claim"))), 1)
        self.assertEqual(self.lines(*self.group("pending"))[0]["consumer"], "cli")
        # What is named is meant.
        self.assertEqual(len(self.lines(*self.group("claim", written, "--consumer", "it"))), 1)

    def test_deleting_a_group_or_a_consumer(self):
        written = self.write_event("event")
        self.ok(*self.group("read", "--consumer", "me"))
        self.fails(2, *self.group("delete"), says="name it with --group")
        named = ("--group", "agents")
        self.fails(1, *self.group("delete", "--group", "none"), says="no group none")
        self.fails(1, *self.group("delete", *named, "--consumer", "who"), says="no consumer who")
        for more in ((), ("--consumer", "me")):
            self.fails(1, *self.group("delete", *named, *more),
                       says=" has 1 pending, which would come to nobody again")
        self.assertEqual(len(self.lines(*self.group("pending"))), 1)
        # What is pending for another does not matter to one that has nothing.
        self.redis("XGROUP", "CREATECONSUMER", self.key, "agents", "idle")
        self.assertEqual(self.ok(*self.group("delete", *named, "--consumer", "idle")), "")
        info, = self.lines(*self.group("info"))
        self.assertEqual([one["name"] for one in info["consumers"]], ["me"])
        self.ok(*self.group("ack", written))
        self.ok(*self.group("delete", *named, "--consumer", "me"))
        self.assertEqual(self.lines(*self.group("info"))[0]["consumers"], [])
        self.ok(*self.group("delete", *named))
        self.fails(1, *self.group("info"), says="no group agents")
        # And if it is meant.
        self.ok(*self.group("read", "--consumer", "me"))
        self.ok(*self.group("delete", *named, "--consumer", "me", "--force"))
        self.fails(1, *self.group("pending"), says="nothing is pending")
        self.ok(*self.group("read", "--from", "0", "--group", "other"))
        self.ok(*self.group("delete", "--group", "other", "--force"))
        self.fails(1, *self.group("info", "--group", "other"), says="no group other")
        self.assertEqual(self.redis("XLEN", self.key), 1)

    def test_dead_letters_without_their_group(self):
        self.redis("XGROUP", "CREATE", self.key, "other", "0", "MKSTREAM")
        self.redis("XADD", self.key + ":dlq", "*", "type", "t", "origin", "o", "body", "7")
        own = "; any group of the stream has its dead letters, and agx history %s:dlq" % self.name
        self.fails(1, *self.group("dlq"), says="no group agents of the stream %s; --group names "
                   "another%s shows them without one\n" % (self.key, own))
        self.fails(1, *self.group("dlq", "--replay", "--all", "--group", "none"),
                   says="no group none of the stream " + self.key + own)
        self.assertEqual(len(self.lines(*self.group("dlq", "--group", "other"))), 1)
        self.assertEqual(self.lines("history", self.name + ":dlq")[0]["body"], 7)

    def test_all_dead_letters(self):
        numbers = list(range(300))  # more than are listed at once
        for n in numbers:
            self.write_event("event", {"n": n})
        self.ok(*self.group("read", "--consumer", "me", "--count", "1"))

        def fill(stream, count):
            for n in range(count):
                self.redis("XADD", self.key + ":dlq", "*", "type", "event", "body",
                           json.dumps({"n": n}), "original_stream", stream, "original_id", "1-1",
                           "failure_reason", "x", "attempts", "3", "dlq_timestamp", "1.0")
        fill(self.key, 299)
        fill("elsewhere", 1)
        self.assertEqual(self.ok(*self.group("dlq", "--replay", "--all", "--count", "3")), "3\n")
        done = agx(*self.group("dlq", "--replay", "--all"))
        self.assertEqual((done.returncode, done.stdout), (0, b"296\n"))
        self.assertEqual(done.stderr, b"agx: of another stream, and left there: 1\n")
        self.assertEqual(self.redis("XLEN", self.key), 300 + 299)
        self.assertEqual(self.redis("XLEN", self.key + ":dlq"), 1)
        fill(self.key, 299)
        self.assertEqual(self.ok(*self.group("dlq", "--delete", "--all")), "300\n")
        self.fails(1, *self.group("dlq", "--delete", "--all"), says="no dead letters")
        self.assertEqual(self.redis("XLEN", self.key), 300 + 299)

    def test_more_than_is_asked_for_at_once_is_shown(self):
        ids = [self.write_event("event", {"n": n}) for n in range(600)]
        self.assertEqual([event["id"] for event in self.lines(*self.group("read"))], ids)
        shown = self.lines(*self.group("read", "--pending"))
        self.assertEqual([event["id"] for event in shown], ids)
        self.assertEqual([one["id"] for one in self.lines(*self.group("pending"))], ids)
        shown = self.lines(*self.group("pending", "--count", "300"))
        self.assertEqual([one["id"] for one in shown], ids[:300])
        claim = self.group("claim", "--consumer", "other", "--idle", "0")
        shown = self.lines(*claim, "--count", "300")
        self.assertEqual([event["id"] for event in shown], ids[:300])
        self.assertEqual(len(self.lines(*self.group("pending", "--consumer", "other"))), 300)
        shown = self.lines(*self.group("claim", "--consumer", "third", "--idle", "0"))
        self.assertEqual([event["id"] for event in shown], ids)
        shown = self.lines(*self.group("claim", "--consumer", "fourth", *ids))
        self.assertEqual([event["id"] for event in shown], ids)
        self.assertEqual(self.ok(*self.group("ack", *ids)), "600\n")

    def test_however_many_consumers_there_are_all_are_known(self):
        self.write_event("event")
        self.redis("XGROUP", "CREATE", self.key, "agents", "0")
        names = ["c%03d" % n for n in range(100)]
        for name in names:
            self.redis("XGROUP", "CREATECONSUMER", self.key, "agents", name)
        info, = self.lines(*self.group("info"))
        self.assertEqual(sorted(one["name"] for one in info["consumers"]), names)
        self.assertEqual(self.ok(*self.group("info", "--pretty")).count("\nconsumer c"), 100)
        # Whoever has something is found among them.
        self.ok(*self.group("read", "--consumer", names[-1]))
        for more in ((), ("--consumer", names[-1])):
            self.fails(1, *self.group("delete", "--group", "agents", *more), says="has 1 pending")

    def test_idle_is_for_how_long(self):
        written = self.write_event("event")
        self.ok(*self.group("read", "--consumer", "me"))
        self.fails(1, *self.group("pending", "--idle", "600"), says="nothing is pending")
        self.assertEqual(len(self.lines(*self.group("pending", "--idle", "0"))), 1)
        self.redis("XCLAIM", self.key, "agents", "me", "0", written, "IDLE", "600000")
        self.assertEqual(len(self.lines(*self.group("pending", "--idle", "600"))), 1)
        self.ok(*self.group("read", "--pending", "--consumer", "me"))  # idle for no time
        # What another has just been given is left to it, unless it is said otherwise.
        take = self.group("process", "--limit", "1", "--timeout", "0.3")
        self.fails(7, *take, "true")
        self.fails(7, *take, "--idle", "600", "true")
        self.ok(*self.group("process", "--limit", "1", "--timeout", "20", "--idle", "0", "true"))
        self.fails(1, *self.group("pending"), says="nothing is pending")

    def test_nothing_reaches_the_terminal_raw(self):
        evil = "\x7f\x9b\u202e\u2028"
        body = json.dumps({"msg": evil}, ensure_ascii=False)
        written = self.write_event("event", body, origin=evil)
        self.redis("XADD", self.key + ":dlq", "1-1", "type", "info", "origin", evil, "body", body,
                   "original_stream", self.key, "original_id", evil, "failure_reason", evil,
                   "attempts", "3", "dlq_timestamp", "1.0")
        name = "me" + evil
        for words in (["read", "--consumer", name], ["read", "--pending", "--consumer", name],
                      ["claim", written, "--consumer", name], ["pending"], ["info"], ["dlq"]):
            for form in ("--json", "--pretty"):
                with self.subTest(words=words, form=form):
                    if words == ["read", "--consumer", name]:
                        self.redis("DEL", self.key)
                        written = self.write_event("event", body, origin=evil)
                    if words[0] == "claim":
                        words[1] = written
                    with Terminal(*self.group(*words, form, "--color=never")) as terminal:
                        status, text = terminal.end()
                    self.assertEqual(status, 0, text)
                    self.assertEqual([c for c in text if c in evil], [])
                    if form == "--pretty":
                        self.assertIn("\\u202e", text)
                        continue
                    line, = [json.loads(line) for line in text.splitlines()]
                    self.assertIn(json.dumps(evil)[1:-1], json.dumps(line))
        with Terminal(*self.group("ack", "1-1", "--group", evil)) as terminal:
            status, text = terminal.end()
            self.assertEqual((status, [c for c in text if c in evil]), (1, []))
            self.assertIn("no group \\u007f\\u009b\\u202e\\u2028 of", text)

    def test_for_people(self):
        written = self.write_event("event", {"n": 1})
        self.write_event("event", {"n": 2})
        self.ok(*self.group("read", "--consumer", "me\x1b[31m", "--count", "1"))
        text = self.ok(*self.group("info", "--pretty"))
        self.assertEqual(text.splitlines()[:5], ["group agents", "length 2", "pending 1", "lag 1",
                                                 "dead_letters 0"])
        self.assertRegex(text, r"\noldest_pending_ms \d+\nlast_delivered_id %s\n"
                         r"consumer me\\u001b\[31m, pending: 1, idle for \d+\.\d s\n$" % written)
        self.assertRegex(self.ok(*self.group("pending", "--pretty")),
                         r"^%s me\\u001b\[31m, idle for \d+\.\d s, attempts: 1\n$" % written)
        self.redis("XADD", self.key + ":dlq", "1-1", "type", "info", "body", '{"msg":"late"}',
                   "original_stream", self.key, "original_id", written, "failure_reason",
                   "no \x1bluck", "attempts", "3", "dlq_timestamp", "1.0")
        text = self.ok(*self.group("dlq", "--pretty"))
        self.assertIn("1-1, attempts: 3, of %s %s: no " % (self.key, written), text)
        self.assertIn("late", text)
        self.assertNotIn("\x1b", text)
        self.assertIn("dead_letters 1\n", self.ok(*self.group("info", "--pretty")))

    def test_a_group_begins_where_it_is_told(self):
        first = self.write_event("event")
        self.write_event("event")
        self.fails(1, *self.group("read", "--from", "new", "--group", "now"))
        self.assertEqual(len(self.lines(*self.group("read", "--from", first, "--group", "b"))), 1)

    def test_waiting(self):
        with Piped(*self.group("read", "--block", "never", "--count", "1")) as reading:
            wait_for("the group", lambda: self.redis("EXISTS", self.key))
            written = self.write_event("event")
            self.assertEqual(json.loads(reading.line())["id"], written)
            self.assertEqual(reading.end()[0], 0)
        self.fails(7, *self.group("read", "--block", "0.05"), says="no such events")
        with Piped(*self.group("read", "--block", "never", "--group", "g")) as reading:
            reading.line()
            self.assertEqual(reading.end()[0], 0)
        with Piped(*self.group("read", "--block", "never", "--group", "g")) as reading:
            wait_for("its wait", lambda: b"cmd=subscribe" in self.redis("CLIENT", "LIST"))
            reading.process.send_signal(signal.SIGINT)
            self.assertEqual(reading.end()[0], 130)

    def test_a_command_for_each_event(self):
        good = self.write_event("event", {"n": 1})
        bad = self.write_event("event", {"n": 2})
        script = 'read -r event; echo "$AGX_ATTEMPT $event"; [[ $event != *\'"n": 2\'* ]]'
        done = agx(*self.group("process", "--limit", "2", "--retries", "2", "--", "bash", "-c",
                               script))
        self.assertEqual(done.returncode, 0, done.stderr)
        seen = [line.split(" ", 1) for line in done.stdout.decode().splitlines()]
        self.assertEqual(sorted((json.loads(event)["id"], attempt) for attempt, event in seen),
                         [(good, "1"), (bad, "1"), (bad, "2")])
        self.assertIn("attempt 2: exit status 1", done.stderr.decode())
        self.fails(1, *self.group("pending"), says="nothing is pending")
        letter, = self.lines(*self.group("dlq"))
        self.assertEqual((letter["original_id"], letter["reason"], letter["attempts"]),
                         (bad, "exit status 1", 2))
        self.assertEqual(letter["event"]["body"], {"n": 2})
        self.assertEqual(letter["original_stream"], self.key)
        self.assertEqual(self.ok(*self.group("dlq", "--replay", letter["id"])), "1\n")
        self.fails(1, *self.group("dlq", "--delete", letter["id"]))
        self.fails(1, *self.group("dlq"), says="no dead letters")
        event, = self.lines(*self.group("read"))
        self.assertEqual(event["body"], {"n": 2})

    def test_a_command_that_does_not_read_its_input(self):
        self.write_event("event", {"text": "x" * 300000})
        self.ok(*self.group("process", "--limit", "1", "true"))
        self.fails(1, *self.group("pending"))

    def test_a_consumer_whose_name_was_made_up_goes_when_it_ends(self):
        self.write_event("event")
        self.ok(*self.group("process", "--limit", "1", "true"))
        self.write_event("event")
        self.ok(*self.group("process", "--limit", "1", "--consumer", "named", "true"))
        info, = self.lines(*self.group("info"))
        self.assertEqual([one["name"] for one in info["consumers"]], ["named"])

    def test_a_command_that_is_killed(self):
        self.write_event("event")
        self.fails(0, *self.group("process", "--limit", "1", "--retries", "1", "--", "sh", "-c",
                                  "kill -9 $$"), says="signal 9")
        self.assertEqual(self.lines(*self.group("dlq"))[0]["reason"], "signal 9")

    def test_a_signal_waits_for_the_command(self):
        self.write_event("event")
        # It outlives the patience that other commands have.
        script = "echo running; sleep 3; echo done"
        with Piped(*self.group("process", "--", "sh", "-c", script)) as running:
            self.assertEqual(running.line(), "running")
            running.process.send_signal(signal.SIGTERM)
            status, out, _ = running.end()
            self.assertEqual((status, out), (143, b"done\n"))
        self.fails(1, *self.group("pending"), says="nothing is pending")

    def test_no_more_is_taken_than_the_command_has(self):
        ids = [self.write_event("event", {"n": n}) for n in range(5)]
        script = "echo running; read -r _ <%s; echo done"
        fifo = os.path.join(server.directory, self.id)
        os.mkfifo(fifo)
        # One that is killed leaves one that others have to wait for.
        with Piped(*self.group("process", "--consumer", "killed", "--", "sh", "-c",
                               script % fifo)) as running:
            self.assertEqual(running.line(), "running")
            running.process.kill()
            running.process.wait()
            os.close(os.open(fifo, os.O_WRONLY))  # and its command is let go
        self.assertEqual([one["id"] for one in self.lines(*self.group("pending"))], ids[:1])
        self.assertEqual(self.lines(*self.group("info"))[0]["lag"], 4)
        # One that is told to stop has done so when the command that is running has ended.
        with Piped(*self.group("process", "--consumer", "told", "--", "sh", "-c",
                               script % fifo)) as running:
            self.assertEqual(running.line(), "running")
            running.process.send_signal(signal.SIGTERM)
            os.close(os.open(fifo, os.O_WRONLY))
            status, out, _ = running.end()
            self.assertEqual((status, out), (143, b"done\n"))
        self.assertEqual([one["id"] for one in self.lines(*self.group("pending"))], ids[:1])
        self.assertEqual(self.lines(*self.group("info"))[0]["lag"], 3)

    def test_a_signal_that_the_command_dies_of_too_is_no_failure(self):
        self.write_event("event")
        for _ in range(3):
            with Piped(*self.group("process", "--retries", "1", "--", "sh", "-c",
                                   "echo $$; exec sleep 600")) as running:
                command = int(running.line())
                # As a terminal does it, to which both belong; the command may be first.
                os.kill(command, signal.SIGINT)
                running.process.send_signal(signal.SIGINT)
                status, _, said = running.end()
                self.assertEqual((status, said), (130, ""))
        # Or says so as a shell does.
        with Piped(*self.group("process", "--retries", "1", "--", "sh", "-c",
                               "sleep 600 & trap 'kill $!; exit 130' INT; echo $$; wait")) as running:
            os.kill(int(running.line()), signal.SIGINT)
            running.process.send_signal(signal.SIGINT)
            status, _, said = running.end()
            self.assertEqual((status, said), (130, ""))
        self.fails(1, *self.group("dlq"))
        self.ok(*self.group("process", "--limit", "1", "--", "sh", "-c", "[ $AGX_ATTEMPT = 1 ]"))
        self.fails(1, *self.group("pending"), says="nothing is pending")

    def test_silence_ends_it(self):
        self.fails(7, *self.group("process", "--timeout", "0.05", "true"))

    def test_wrong_words(self):
        self.write_event("event")
        self.fails(2, *self.group("eat"), says="does not know")
        self.fails(2, *self.group("ack"), says="ids")
        self.fails(1, *self.group("info"), says="no group agents")
        self.fails(1, *self.group("ack", "1-1"), says="no group agents")
        self.ok(*self.group("read"))
        self.fails(2, *self.group("ack", "x"), says="entry id")
        self.fails(2, *self.group("read", "1-1"), says="too much")
        self.fails(2, *self.group("read", "--count", "0"))
        self.fails(2, *self.group("read", "--from", "x", "--group", "other"))
        self.fails(2, *self.group("read", "--group", ""))
        self.fails(2, *self.group("process"), says="which command")
        self.fails(2, *self.group("process", "no-such-command-here"), says="no command")
        self.fails(2, *self.group("dlq", "1-1"), says="--replay")
        self.fails(2, *self.group("dlq", "--replay"), says="or --all")
        self.fails(2, *self.group("dlq", "--delete"), says="or --all")
        self.fails(2, *self.group("dlq", "--all"), says="go with --replay or --delete")
        self.fails(2, *self.group("dlq", "1-1", "--replay", "--all"), says="either ids or --all")
        self.fails(2, *self.group("dlq", "1-1", "--replay", "--delete"), says="do not go together")
        self.fails(2, "group", "read", says="usage: agx group")
        self.redis("SET", "agx:1:42:text", "x")
        self.fails(4, "group", "read", "1/42/text")


class Documents(Case):
    """What the help says is what the other documents say."""

    def setUp(self):
        super().setUp()
        self.options = {}
        for command in COMMANDS:
            self.options[command] = set(re.findall(r"^  --([a-z-]+)", self.ok(command, "--help"),
                                                   re.MULTILINE))

    def read(self, *path):
        with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
            return file.read()

    def test_the_man_page(self):
        page = self.read("docs", "agx.1")
        for command, names in self.options.items():
            self.assertIn(".It Cm " + command, page)
            for name in names:
                self.assertRegex(page, r"(Fl|,) -%s\b" % name)

    def test_exit_statuses(self):
        """The tables have the same ones, of the same commands; the program has no others."""
        def commands(text, form):
            words = re.findall(form, text)
            return {word for words in words for word in re.split("`?[ ,`]+", words)} & set(COMMANDS)

        readme, page = {}, {}
        table = self.read("README.md").split("| exit status |")[1].split("\n\n")[0]
        for statuses, meaning in re.findall(r"^\| ([\d, ]+) \| (.*) \|$", table, re.MULTILINE):
            for status in re.findall(r"\d+", statuses):
                readme[int(status)] = commands(meaning, r"((?:`[a-z]+`(?:, )?)+):")
        table = self.read("docs", "agx.1").split(".Sh EXIT STATUS")[1].split(".Sh EXAMPLES")[0]
        for statuses, meaning in re.findall(r"^\.It ([\d, ]+)\n((?:(?!\.It).*\n)*)", table,
                                            re.MULTILINE):
            for status in re.findall(r"\d+", statuses):
                page[int(status)] = commands(meaning, r"\.Cm (.*) :")
        page[1].discard("demo")  # which fails where something is wrong with the program
        self.assertEqual(readme, page)
        self.assertEqual(page[7], {"listen", "bridge", "group"})
        shown = self.ok("help").split("exit status:\n")[1].split("\n\n")[0]
        self.assertEqual(sorted(int(number) for number in re.findall(r"\d+", shown)), sorted(page))
        values = re.findall(r"^  k\w+ = (\d+),(?:  //.*)?$", self.read("tools", "agx", "util.h"),
                            re.MULTILINE)
        signals = {128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
        self.assertEqual(({int(value) for value in values} - {128}) | signals, set(page))
        for command in COMMANDS:
            details = self.ok(command, "--help").split("options")[0]
            said = re.search(r"[Ee]xit status(?:es)?\b(.*)", details, re.DOTALL)
            for number in re.findall(r"(?:status |; |and )(\d+):", said.group(0) if said else ""):
                self.assertIn(int(number), page, command)

    def test_a_body_that_the_format_cannot_hold(self):
        of = ("--format", "agent-framework")
        self.fails(4, "add", *of, self.id, "--type", "event", "--body", '{"x":1}',
                   says="holds text alone")
        self.fails(2, "add", *of, self.id, "--type", "event", "--body", "{")

    def test_completions_know_every_option(self):
        for file in ("agx.bash", "_agx", "agx.fish"):
            text = self.read("tools", "agx", "completion", file)
            for command, names in self.options.items():
                self.assertIn(command, text)
                for name in names:
                    self.assertRegex(text, r"(--|-l )%s\b" % name, file)

    def complete(self, line):
        """What bash would offer for the line, as it splits it."""
        script = r'''
            source "$1"; COMP_LINE=$2; COMP_POINT=${#2}
            rest=$2; COMP_WORDS=(); word=
            while [[ -n $rest ]]; do
                c=${rest:0:1}; rest=${rest:1}
                case $c in
                    ' ') COMP_WORDS+=("$word"); word= ;;
                    [:=]) [[ -n $word ]] && COMP_WORDS+=("$word"); COMP_WORDS+=("$c"); word= ;;
                    *) word+=$c ;;
                esac
            done
            [[ -n $word || $2 == *' ' ]] && COMP_WORDS+=("$word")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _agx
            printf '%s\n' "${COMPREPLY[@]}"
        '''
        done = subprocess.run(
            ["bash", "-c", script, "bash",
             os.path.join(SOURCE, "tools", "agx", "completion", "agx.bash"), line],
            capture_output=True, text=True, timeout=DEADLINE, env=environment(AGX_URL=server.url))
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_bash(self):
        self.assertEqual(self.complete("agx "), COMMANDS)
        self.assertEqual(self.complete("agx --prefix p st"), ["start", "stop"])
        self.assertEqual(self.complete("agx --pre"), ["--prefix"])
        self.assertEqual(self.complete("agx listen --l"), ["--limit"])
        self.assertEqual(self.complete("agx listen --color a"), ["auto", "always"])
        self.assertEqual(self.complete("agx listen --color=a"), ["auto", "always"])
        self.assertEqual(self.complete("agx --url rediss"), ["rediss://"])
        self.assertEqual(self.complete("agx --url rediss:/"), ["//"])
        program = options.agx
        self.ok("start", "1/2/one:two", "--prefix", "complete")
        self.ok("start", "-1/2/x", "--prefix", "complete")
        for before in ("--prefix complete", "--prefix=complete"):
            self.assertEqual(
                sorted(self.complete(program + " " + before + " listen ")),
                ["-1/2/x", "1/2/one:two"])
            self.assertEqual(self.complete(program + " listen " + before + " 1/"),
                             ["1/2/one:two"])
            self.assertEqual(self.complete(program + " listen " + before + " 1/2/one:t"), ["two"])
            self.assertEqual(self.complete(program + " listen " + before + " -1"), ["-1/2/x"])


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--agx", default=os.environ.get("AGX", "agx"))
    parser.add_argument("--redis-server",
                        default=os.environ.get("AGX_REDIS_SERVER", "redis-server"))
    _, rest = parser.parse_known_args(namespace=options)
    if not shutil.which(options.redis_server):
        sys.exit("there is no " + options.redis_server)
    options.agx = os.path.abspath(shutil.which(options.agx) or options.agx)
    unittest.main(argv=[sys.argv[0]] + rest)


if __name__ == "__main__":
    main()
