#!/usr/bin/env python3
# agx --format and agx bridge, from outside: what other frameworks' processes would write and read is
# written and read here by plain commands.
# ctest-labels: redis
# ctest-timeout: 180
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

AGX = os.environ["AGX"]
DEADLINE = 30.0


class Server:
    """A server of its own, and a plain client of it."""

    def __init__(self):
        self.directory = tempfile.mkdtemp()
        path = os.path.join(self.directory, "socket")
        program = os.environ.get("AGX_REDIS_SERVER") or shutil.which("redis-server")
        self.process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", path, "--save", ""], cwd=self.directory,
            stdout=subprocess.DEVNULL)
        self.url = "unix://" + path
        self.errors = "strict"
        until = time.monotonic() + DEADLINE
        while True:
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) +
                            b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.reply()

    def reply(self):
        line = self.file.readline()[:-2]
        if line[:1] == b"-":
            raise RuntimeError(line.decode())
        if line[:1] in b"+:":
            return line[1:].decode()
        count = int(line[1:])
        if line[:1] == b"$":
            return None if count < 0 else self.file.read(count + 2)[:-2].decode(errors=self.errors)
        return None if count < 0 else [self.reply() for _ in range(count)]

    def dump(self, key):
        self.errors = "surrogateescape"
        dumped = self("DUMP", key).encode(errors=self.errors)
        self.errors = "strict"
        return dumped

    def entries(self, key):
        return [dict(zip(e[1][::2], e[1][1::2])) for e in self("XRANGE", key, "-", "+")]

    def close(self):
        self.file.close()
        self.socket.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)


def wait_for(what, condition):
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("did not come: " + what)


class Streams(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.close)

    def agx(self, *words, status=0, stdin=""):
        done = subprocess.run([AGX, "--url", self.server.url, *words], input=stdin, text=True,
                              capture_output=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, status, done.stderr)
        self.said = done.stderr
        return done.stdout

    def bridge(self, *words):
        process = subprocess.Popen([AGX, "--url", self.server.url, "bridge", *words],
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_streams_are_opened_by_name(self):
        self.server("XADD", "tokens", "*", "type", "token", "data", '{"token": "Hi"}')
        out = self.agx("--format", "openai-agents", "listen", "tokens", "--timeout", "0", status=7)
        self.assertEqual(json.loads(out)["body"], {"token": "Hi"})
        self.agx("add", "tokens", "--format=openai-agents", "--type", "complete", "--body", "{}")
        self.assertEqual(self.server.entries("tokens")[1]["type"], "complete")
        info = json.loads(self.agx("info", "--format", "openai-agents", "tokens"))
        self.assertEqual(info["length"], 2)
        out = self.agx("--format", "openai-agents", "history", "tokens", "--reverse", "--count", "1")
        self.assertEqual(json.loads(out)["type"], "complete")

    def test_an_agent_stream_from_start_to_stop(self):
        of = ["--format", "agent-framework"]
        self.agx(*of, "start", "c")
        self.agx(*of, "live", "c")
        self.agx(*of, "add", "c", "--type", "event", "--body", '{"text": "Hi"}')
        self.agx(*of, "add", "c", "--type", "event", "--body", '{"x": 1}', status=4)
        self.assertIn("holds text alone", self.said)
        self.agx(*of, "stop", "c")
        self.agx(*of, "live", "c", status=1)
        self.assertEqual([(e["text"], e["sequence"], e.get("done"))
                          for e in self.server.entries("agent-stream:c")],
                         [("Hi", "0", None), ("", "1", "true")])
        out = self.agx(*of, "listen", "c")
        self.assertEqual(json.loads(out)["body"]["content_delta"], "Hi")

    def test_ag2_with_a_prefix(self):
        self.server("RPUSH", "my:s", '{"__type__": "a.B", "n": 1}')
        out = self.agx("--format", "ag2", "--prefix", "my", "history", "s")
        self.assertEqual(json.loads(out)["type"], "a.B")
        self.agx("--format", "ag2", "add", "s", "--type", "a.C", "--body", '{"n": 2}')
        self.assertEqual(self.server("LRANGE", "ag2:stream:s", 0, -1),
                         ['{"__type__": "a.C", "n": 2}'])

    def test_the_format_may_be_in_the_url(self):
        self.server("XADD", "tokens", "*", "type", "token", "data", '{"n": 1}')
        self.server("RPUSH", "ag2:stream:s", '{"__type__": "a.B", "n": 2}')
        self.server("XADD", "agx:1:2:s", "*", "type", "t", "origin", "o", "body", '{"n": 3}')
        url = self.server.url
        def n(*words):
            return json.loads(self.agx(*words))["body"]["n"]
        for at, stream, number in (("?format=openai-agents", "tokens", 1), ("?format=ag2", "s", 2),
                                   ("?db=0&format=ag2&lease=5000", "s", 2),
                                   ("?lease=5000&format=%61g2", "s", 2), ("?format=agx", "1/2/s", 3)):
            with self.subTest(at=at):
                self.assertEqual(n("--url", url + at, "history", stream), number)
                done = subprocess.run([AGX, "history", stream], capture_output=True, text=True,
                                      env=dict(os.environ, AGX_URL=url + at), timeout=DEADLINE)
                self.assertEqual(json.loads(done.stdout)["body"]["n"], number, done.stderr)
                # What is said by itself counts.
                self.assertEqual(n("--url", url + at, "--format", "ag2", "history", "s"), 2)
                self.assertEqual(n("--url", url + at, "--format", "agx", "history", "1/2/s"), 3)
                self.agx("--url", url + at, "bridge", "agx:1/2/s", "openai-agents:copy@" + url + at,
                         "--timeout", "0", status=7)
                self.server("DEL", "copy", "copy:from", "copy:live")
        self.agx("--url", url + "?format=ag2", "ls", status=2)
        self.agx("--url", url + "?format=ag2", "add", "s", "--type", "a.C", "--body", '{"n":4}')
        self.assertEqual(self.server("LLEN", "ag2:stream:s"), "2")
        self.agx("--url", url + "?format=openai", "live", "s", status=2)
        self.assertIn("one of agx, openai-agents", self.said)
        for wrong in ("?format=", "?format=ag2&format=agx", "?format=%zz"):
            self.agx("--url", url + wrong, "live", "1/2/s", status=2)
            self.assertIn("format", self.said)

    def test_a_prefix_is_refused_where_there_is_none(self):
        for of in ("openai-agents", "agent-framework"):
            for words in (["--format", of], ["--url", self.server.url + "?format=" + of]):
                self.agx(*words, "--prefix", "my", "live", "s", status=2)
                self.assertEqual(self.said, "agx: --prefix: the streams of the format %s have no "
                                 "prefix\n" % of)
            # A URL's is the client's, which may open streams of several.
            self.agx("--url", self.server.url + "?prefix=my", "--format", of, "live", "s", status=1)
        self.agx("--prefix", "my", "bridge", "openai-agents:s", "ag2:t", status=2)
        self.assertIn("neither FROM nor TO", self.said)

    def test_what_cannot_be_read_stops_a_reader_or_is_passed_over(self):
        of = ["--format", "ag2"]
        pickled = b"\x80\x04K\x01."
        # The places of two that were pickled: alone, side by side, and at either end.
        for first, second in ((2, 5), (2, 3), (1, 5)):
            self.server("FLUSHALL")
            for place in range(1, 6):
                self.server("RPUSH", "ag2:stream:s", pickled if place in (first, second) else
                            '{"__type__": "a.B", "n": %d}' % place)
            readable = [n for n in range(1, 6) if n not in (first, second)]
            at_or_behind = [n for n in readable if n > first]
            before = {"history": [n for n in readable if n < first],
                      "history --reverse": [n for n in reversed(readable) if n > second]}
            before["listen --timeout 0"] = before["history"]
            whole = {"history": readable, "history --reverse": readable[::-1],
                     "listen --timeout 0": readable}
            for words in before:
                with self.subTest(words=words, pickled=(first, second)):
                    def numbers(*more, status):
                        out = self.agx(*of, *words.split(), *more, "s", status=status)
                        return [json.loads(line)["body"]["n"] for line in out.splitlines()]
                    self.assertEqual(numbers(status=4), before[words])
                    stopper = second if "reverse" in words else first
                    self.assertRegex(self.said, r"^agx: the entry %d-\d+.*PICKLE.*; --skip "
                                     r"passes over it\n$" % stopper)
                    status = 7 if "listen" in words else 0
                    self.assertEqual(numbers("--skip", status=status), whole[words])
                    lines = self.said.splitlines()
                    self.assertEqual(len(lines), 2, lines)
                    order = (second, first) if "reverse" in words else (first, second)
                    for line, place in zip(lines, order):
                        self.assertRegex(line, r"^agx: the entry %d-\d+.*PICKLE.*; passed over$"
                                         % place)
                    # A condition, and a count that is reached before.
                    self.assertEqual(
                        numbers("--skip", "--where", "body.n > %d" % first, status=status),
                        [n for n in whole[words] if n in at_or_behind])
            self.agx(*of, "history", "--count", "1", "--after", str(first), "s",
                     status=0 if first + 1 in readable else 4)
        self.agx("bridge", "ag2:s", "openai-agents:t", "--timeout", "0", status=4)
        self.assertRegex(self.said, r"^agx: ag2:s: the entry 1-\d+.*; --skip passes over it\n$")

    def test_wrong_words(self):
        self.agx("--format", "openai", "live", "s", status=2)
        self.assertIn("one of agx, openai-agents", self.said)
        self.agx("bridge", "tokens", "agx:1/2/s", status=2)
        self.agx("bridge", "agx:tokens", "agx:1/2/s", status=2)
        self.agx("bridge", "openai-agents:", "agx:1/2/s", status=2)
        self.agx("bridge", "openai-agents:t@redis://nobody:pw@127.0.0.1:1/x", "agx:1/2/s", status=2)
        self.assertNotIn("pw", self.said)

    def test_a_session_is_not_copied_onto_itself(self):
        self.agx("start", "1/2/s")
        self.agx("add", "1/2/s", "--type", "info")
        self.agx("cancel", "1/2/s")
        before = self.server.entries("agx:1:2:s")
        for to in ("agx:1/2/s", "agx:1/02/s", "agx:1/2/s@" + self.server.url):
            self.agx("bridge", "agx:1/2/s", to, status=2)
            self.assertIn("the same session", self.said)
        self.assertEqual(self.server.entries("agx:1:2:s"), before)
        self.agx("bridge", "ag2:s", "ag2:s", status=2)

    def test_a_servers_other_names_do_not_hide_that_a_session_is_the_same(self):
        self.agx("start", "1/2/s")
        self.agx("add", "1/2/s", "--type", "info")
        self.agx("cancel", "1/2/s")
        before = self.server.entries("agx:1:2:s")
        path = self.server.url[len("unix://"):]
        other = "unix://" + os.path.dirname(path) + "/./" + os.path.basename(path)
        for to in ("agx:1/2/s@" + other, "agx:1/2/s@" + self.server.url + "?lease=5000",
                   "openai-agents:agx:1:2:s"):
            for _ in range(2):  # what is left of the first does not let the second pass
                self.agx("bridge", "agx:1/2/s", to, status=2)
                self.assertIn("the same session", self.said)
        self.assertEqual(self.server.entries("agx:1:2:s"), before)
        self.assertEqual(self.server("EXISTS", "agx:1:2:s:live"), "0")

    def test_a_source_that_never_appears_leaves_nothing(self):
        self.agx("bridge", "openai-agents:t", "agx:1/2/copy", "--wait", "0.05", status=1)
        self.assertIn("has not appeared", self.said)
        self.assertEqual(self.server("KEYS", "*"), [])

    def test_a_bridge_copies_live_and_ends_with_its_source(self):
        self.server("XADD", "agent-stream:c", "*", "text", "Hel", "sequence", "0")
        process = self.bridge("agent-framework:c", "agx:1/2/copy")
        wait_for("the first", lambda: self.server("XLEN", "agx:1:2:copy") == "2")
        self.assertEqual(self.server("EXISTS", "agx:1:2:copy:live"), "1")
        self.server("XADD", "agent-stream:c", "*", "text", "lo", "sequence", "1")
        wait_for("the second", lambda: self.server("XLEN", "agx:1:2:copy") == "3")
        self.server("XADD", "agent-stream:c", "*", "text", "", "sequence", "2", "done", "true")
        self.assertEqual(process.wait(DEADLINE), 0)
        copies = self.server.entries("agx:1:2:copy")
        self.assertEqual([e["type"] for e in copies], ["begin", "event", "event", "end"])
        self.assertEqual(json.loads(copies[2]["body"])["content_delta"], "lo")
        self.assertEqual(self.server("EXISTS", "agx:1:2:copy:live"), "0")

    def at_once(self, word):
        """Its store, where a lease is short."""
        return word + "@" + self.server.url + "?lease=300"

    def ended(self, name="1/2/copy"):
        entries = self.server.entries("agx:" + name.replace("/", ":"))
        live = self.server("EXISTS", "agx:" + name.replace("/", ":") + ":live") == "1"
        return entries[-1]["type"] == "end" and not live

    def test_a_source_without_an_end_that_is_stopped_ends_the_copy(self):
        for of, add in (("openai-agents", ["--type", "token"]), ("ag2", ["--type", "a.B"])):
            for how in ("stop", "cancel"):
                with self.subTest(of=of, how=how):
                    self.server("FLUSHALL")
                    self.agx("--format", of, "start", "t", "--lease", "3")
                    self.agx("--format", of, "add", "t", *add, "--lease", "3")
                    process = self.bridge(self.at_once(of + ":t"), "agx:1/2/copy")
                    wait_for("the event", lambda: self.server("XLEN", "agx:1:2:copy") == "2")
                    self.agx("--format", of, how, "t")
                    self.assertEqual(process.wait(DEADLINE), 0)
                    self.assertEqual(process.stderr.read(), "")
                    self.assertTrue(self.ended())

    def test_a_source_whose_producer_died_does_not_end_the_copy(self):
        for of in ("openai-agents", "agx"):
            name = {"openai-agents": "t", "agx": "1/2/t"}[of]
            for more, status, says in (([], 8, "; --stop ends agx:1/2/copy then\n"),
                                       (["--stop"], 0, "; ending agx:1/2/copy\n")):
                with self.subTest(of=of, more=more):
                    self.server("FLUSHALL")
                    self.agx("--format", of, "start", name, "--lease", "3")
                    self.agx("--format", of, "add", name, "--type", "t", "--lease", "3")
                    process = self.bridge(self.at_once(of + ":" + name), "agx:1/2/copy", *more)
                    wait_for("the event", lambda: self.server("XLEN", "agx:1:2:copy") == "2")
                    self.assertEqual(process.wait(DEADLINE), status)
                    said = process.stderr.read()
                    self.assertIn("lease ran out", said)
                    self.assertTrue(said.endswith(says), said)
                    self.assertEqual(self.ended(), status == 0)

    def test_a_cancelled_agx_session_that_wrote_no_end_is_gone(self):
        self.agx("start", "1/2/t", "--lease", "3")
        process = self.bridge(self.at_once("agx:1/2/t"), "agx:1/2/copy")
        wait_for("the copy", lambda: self.server("EXISTS", "agx:1:2:copy:live") == "1")
        self.agx("cancel", "1/2/t")
        self.assertEqual(process.wait(DEADLINE), 8)
        self.assertIn("was taken away", process.stderr.read())
        self.assertFalse(self.ended())

    def test_silence_is_an_end_if_asked_for(self):
        self.server("XADD", "t", "*", "type", "token", "data", "{}")
        words = ["bridge", "openai-agents:t", "agx:1/2/copy", "--timeout", "0.2"]
        self.agx(*words, status=7)
        self.assertIn("silent for too long; --stop ends agx:1/2/copy then", self.said)
        self.assertFalse(self.ended())
        # Not while it is live.
        self.server("SET", "t:live", "x")
        self.agx(*words, "--stop", status=7)
        self.assertNotIn("--stop", self.said)
        self.assertFalse(self.ended())
        self.server("DEL", "t:live")
        self.agx(*words, "--stop")
        self.assertIn("silent for too long; ending agx:1/2/copy", self.said)
        self.assertTrue(self.ended())
        self.assertEqual([e["type"] for e in self.server.entries("agx:1:2:copy")],
                         ["begin", "token", "end"])

    def test_a_source_that_is_not_there_is_no_end_of_nothing(self):
        self.agx("bridge", "openai-agents:t", "agx:1/2/copy", "--wait", "0.05", "--stop", status=1)
        self.assertTrue(self.said.endswith("has not appeared\n"), self.said)
        self.assertEqual(self.server("KEYS", "*"), [])

    def test_a_cancel_of_the_copy_cancels_the_original(self):
        self.agx("--format", "openai-agents", "start", "t")
        self.bridge("openai-agents:t", "agx:1/2/copy", "--wait", "never", "--timeout", "never")
        wait_for("the copy", lambda: self.server("EXISTS", "agx:1:2:copy:live") == "1")
        self.server("GETDEL", "agx:1:2:copy:live")
        wait_for("the cancel", lambda: self.server("EXISTS", "t:live") == "0")

    def test_what_cannot_be_held_stops_a_bridge_or_is_skipped(self):
        self.agx("start", "1/2/s")
        for body in ['{"event":"llm-begin"}', '{"text":"Hi"}', '{"event":"llm-end"}']:
            self.agx("add", "1/2/s", "--type", "event", "--body", body)
        self.agx("stop", "1/2/s", "--grace", "60")
        self.agx("bridge", "agx:1/2/s", "agent-framework:c", status=4)
        ids = [entry[0] for entry in self.server("XRANGE", "agx:1:2:s", "-", "+")]
        self.assertTrue(self.said.startswith(
            "agx: the event %s of agx:1/2/s: the format agent-framework holds text alone" % ids[1]),
            self.said)
        self.assertTrue(self.said.endswith("; --skip passes over it\n"), self.said)
        self.agx("bridge", "--skip", "agx:1/2/s", "agent-framework:c")
        for line, event in zip(self.said.splitlines(), (ids[1], ids[3]), strict=True):
            self.assertRegex(line, "^agx: passed over the event %s of agx:1/2/s: the format "
                             "agent-framework holds text alone.*of another kind$" % event)
        self.assertEqual([e["text"] for e in self.server.entries("agent-stream:c")], ["Hi", ""])

    def test_the_one_of_many_that_is_too_long_is_named(self):
        self.agx("start", "1/2/s")
        self.agx("add", "1/2/s", "--type", "event", "--body", '{"n":1}')
        self.server("XADD", "agx:1:2:s", "*", "type", "t" * 300, "origin", "o")
        self.agx("stop", "1/2/s", "--grace", "60")
        wrong = self.server("XRANGE", "agx:1:2:s", "-", "+")[2][0]
        self.agx("bridge", "agx:1/2/s", "openai-agents:t", status=4)
        self.assertIn("the event %s of agx:1/2/s: " % wrong, self.said)
        self.agx("bridge", "agx:1/2/s", "openai-agents:t", "--skip")
        self.assertIn("passed over the event %s of" % wrong, self.said)
        self.assertEqual([e["data"] for e in self.server.entries("t")], ['{"n":1}'])

    def test_a_text_with_a_nul_is_refused_and_not_cut(self):
        self.server("XADD", "t", "*", "type", "a", "data", '{"n":1}')
        for fields in (["type", "t\0u", "data", "{}"], ["type", "b", "data", '{"n":2}\0more']):
            self.server("XADD", "t", "*", *fields)
        self.server("XADD", "t", "*", "type", "c", "data", '{"n":4}')
        words = ["bridge", "openai-agents:t", "agx:1/2/copy", "--timeout", "0"]
        self.agx(*words, status=4)
        self.assertIn("it has a U+0000; --skip passes over it", self.said)
        self.agx(*words, "--skip", status=7)
        self.assertEqual(self.said.count("passed over"), 2, self.said)
        self.assertEqual([e["body"] for e in self.server.entries("agx:1:2:copy")[1:]],
                         ['{"n":1}', '{"n":4}'])

    kLost = "agx: %s has lost what was copied to it; copying it anew from the beginning\n"

    def test_a_target_that_loses_its_data_is_copied_to_anew(self):
        target = Server()
        self.addCleanup(target.close)
        keys = {"agx:1/2/copy": ("agx:1:2:copy", "body"), "openai-agents:c": ("c", "data"),
                "agent-framework:c": ("agent-stream:c", "text"), "ag2:c": ("ag2:stream:c", None)}
        def copied(key, field):
            if field is None:
                return [json.loads(e) for e in target("LRANGE", key, 0, -1)]
            return [e.get(field) for e in target.entries(key) if e.get("type") != "begin"]
        def lose_all(key):
            target("FLUSHALL")
        def lose_copy(key):
            target("DEL", key)
        for to, (key, field) in keys.items():
            kind = "a.B" if to.startswith("ag2") else "event"
            for lose in (lose_all, lose_copy):
                # Noticed with the next event, or while nothing comes, or at the end.
                for then in ("add", "nothing", "stop"):
                    with self.subTest(to=to, lose=lose.__name__, then=then):
                        self.server("FLUSHALL")
                        target("FLUSHALL")
                        self.agx("start", "1/2/s", "--lease", "600")
                        def add(n):
                            self.agx("add", "1/2/s", "--type", kind, "--lease", "600",
                                     "--body", '{"text":"%d"}' % n)
                        add(1)
                        add(2)
                        process = self.bridge("agx:1/2/s", to + "@" + target.url, "--timeout",
                                              "never", "--grace", "600")
                        wait_for("the copy", lambda: len(copied(key, field)) == 2)
                        before = copied(key, field)
                        lose(key)
                        if then == "add":
                            add(3)
                        elif then == "stop":
                            self.agx("stop", "1/2/s", "--grace", "600")
                        count = 3 if then == "add" else 2
                        wait_for("it again", lambda: len(copied(key, field)) >= count)
                        self.assertEqual(copied(key, field)[:2], before)
                        self.agx("stop", "1/2/s", "--grace", "600",
                                 status=1 if then == "stop" else 0)
                        self.assertEqual(process.wait(DEADLINE), 0)
                        self.assertEqual(process.stderr.read(), self.kLost % to)
                        more = 1 if to.startswith("ag") and field else 0
                        self.assertEqual(len(copied(key, field)), count + more)
                        if field == "body":
                            self.assertEqual([e["type"] for e in target.entries(key)],
                                             ["begin"] + ["event"] * count + ["end"])

    def test_a_copy_whose_place_alone_is_lost_is_not_made_twice(self):
        self.server("XADD", "t", "*", "type", "token", "data", "{}")
        process = self.bridge("openai-agents:t", "agx:1/2/copy", "--timeout", "never")
        wait_for("the copy", lambda: self.server("XLEN", "agx:1:2:copy") == "2")
        self.server("DEL", "agx:1:2:copy:from")
        self.assertEqual(process.wait(DEADLINE), 4)
        self.assertIn("agx:1/2/copy has lost how far the copy has come", process.stderr.read())
        self.assertEqual(self.server("XLEN", "agx:1:2:copy"), "2")

    def test_a_copy_whose_place_was_lost_while_no_bridge_ran_is_not_made_twice(self):
        self.agx("start", "1/2/s", "--lease", "600")
        for n in range(2):
            self.agx("add", "1/2/s", "--type", "a.B", "--body", '{"n":%d}' % n, "--lease", "600")
        for to, key in (("openai-agents:c", "c"), ("ag2:c", "ag2:stream:c")):
            with self.subTest(to=to):
                def copy():
                    words = ("LRANGE", key, 0, -1) if to == "ag2:c" else ("XRANGE", key, "-", "+")
                    return self.server(*words)
                words = ["bridge", "agx:1/2/s", to, "--timeout", "0"]
                self.agx(*words, status=7)
                before = copy()
                self.assertEqual(len(before), 2)
                self.agx(*words, status=7)
                self.server("DEL", key + ":from", key + ":live")
                self.agx(*words, status=4)
                self.assertEqual(self.said, "agx: %s has events, and does not say how far it is a copy "
                                 "of agx:1/2/s: delete it, name another TO, or, with --append, copy "
                                 "all of it behind them\n" % to)
                self.assertEqual(copy(), before)
                self.assertEqual(self.server("EXISTS", key + ":from", key + ":live"), "0")
                # Also where FROM appears later.
                process = self.bridge("agx:1/2/later", to, "--wait", "never")
                self.assertEqual(process.wait(DEADLINE), 4)
                # Deliberately, and as often as it is begun again.
                for _ in range(2):
                    self.agx(*words, "--append", status=7)
                    self.assertEqual(copy()[:2], before)
                    self.assertEqual(len(copy()), 4)
                self.agx(*words, status=7)
                self.assertEqual(len(copy()), 4)
        self.agx("bridge", "agx:1/2/s", "agx:1/2/c", "--append", status=2)
        self.assertIn("--append", self.said)

    def test_a_second_run_into_a_format_that_begins_anew_needs_no_place(self):
        self.server("XADD", "agent-stream:s", "*", "text", "Hi", "sequence", "0")
        for to, key in (("agx:1/2/c", "agx:1:2:c"), ("agent-framework:c", "agent-stream:c")):
            words = ["bridge", "agent-framework:s", to, "--timeout", "0"]
            self.agx(*words, status=7)
            count = self.server("XLEN", key)
            self.server("DEL", key + ":from", key + ":live")
            self.agx(*words, status=7)
            self.assertEqual(self.server("XLEN", key), count)

    def test_a_copy_that_was_lost_while_no_bridge_ran_is_made_anew(self):
        self.agx("start", "1/2/s", "--lease", "600")
        for n in range(3):
            self.agx("add", "1/2/s", "--type", "a.B", "--body", '{"n":%d}' % n, "--lease", "600")
        targets = {"agx:1/2/copy": "agx:1:2:copy", "openai-agents:c": "c", "ag2:c": "ag2:stream:c"}
        for to, key in targets.items():
            with self.subTest(to=to):
                words = ["agx:1/2/s", to, "--timeout", "never"]
                def count():
                    return int(self.server("LLEN" if to == "ag2:c" else "XLEN", key))
                whole = 4 if to.startswith("agx") else 3
                process = self.bridge(*words)
                wait_for("the copy", lambda: count() == whole)
                process.kill()
                process.wait()
                self.server("DEL", key)
                process = self.bridge(*words)
                wait_for("it again", lambda: count() == whole)
                process.terminate()
                self.assertEqual(process.wait(DEADLINE), 143)
                self.assertEqual(process.stderr.read(), self.kLost % to)
                # What was done with, and trimmed, is not.
                if to == "ag2:c":
                    continue
                self.server("XTRIM", key, "MAXLEN", "0")
                self.agx("bridge", *words[:2], "--timeout", "0", status=7)
                self.assertNotIn("lost", self.said)
                self.assertEqual(count(), 0)

    def test_a_finished_copy_is_left_alone(self):
        self.server("XADD", "agent-stream:c", "*", "text", "Hi", "sequence", "0")
        self.server("XADD", "agent-stream:c", "*", "text", "", "error", "boom", "sequence", "1")
        for to, key in (("agx:1/2/copy", "agx:1:2:copy"), ("agent-framework:d", "agent-stream:d")):
            self.agx("bridge", "agent-framework:c", to, "--grace", "600")
            copy = self.server.entries(key)
            for _ in range(2):
                self.agx("bridge", "agent-framework:c", to)
                self.assertEqual(self.said, "agx: %s has ended: the copy is finished, and nothing is "
                                 "added to it\n" % to)
                self.assertEqual(self.server.entries(key), copy)
                self.assertEqual(self.server("EXISTS", key + ":live"), "0")
            # FROM has begun another run.
            self.server("XADD", "agent-stream:c", "*", "text", "Ho", "sequence", "0")
            self.agx("bridge", "agent-framework:c", to)
            self.assertEqual(self.server.entries(key), copy)
            self.server("XDEL", "agent-stream:c", self.server("XREVRANGE", "agent-stream:c", "+",
                                                              "-", "COUNT", "1")[0][0])

    def test_an_error_that_was_copied_before_a_bridge_died_ends_the_copy(self):
        # Also of a producer that has not let go of its live flag.
        for live in (False, True):
            with self.subTest(live=live):
                self.server("FLUSHALL")
                self.server("XADD", "agent-stream:c", "*", "text", "Hi", "sequence", "0")
                process = self.bridge("agent-framework:c", "agx:1/2/copy", "--timeout", "never")
                wait_for("the copy", lambda: self.server("XLEN", "agx:1:2:copy") == "2")
                process.kill()
                process.wait()
                # What it had done next.
                error = self.server("XADD", "agent-stream:c", "*", "text", "", "error", "boom",
                                    "sequence", "1")
                self.server("XADD", "agx:1:2:copy", "*", "type", "error", "origin",
                            "agent-framework", "body", '{"msg": "boom"}')
                self.server("HSET", "agx:1:2:copy:from", "agent-framework:c", error)
                if live:
                    self.server("SET", "agent-stream:c:live", "x")
                self.agx("bridge", "agent-framework:c", "agx:1/2/copy", "--timeout", "never")
                self.assertTrue(self.ended())
                self.assertEqual([e["type"] for e in self.server.entries("agx:1:2:copy")],
                                 ["begin", "event", "error", "end"])

    def test_an_error_that_is_not_the_last_cannot_be_held_by_agent_framework(self):
        for to, words in (("a", []), ("b", ["--skip"])):
            text = {"text": "one"}
            self.agx("start", "1/2/s")
            self.agx("add", "1/2/s", "--type", "event", "--body", json.dumps(text))
            error = self.agx("add", "1/2/s", "--type", "error", "--body", '{"msg":"E"}').strip()
            self.agx("add", "1/2/s", "--type", "event", "--body", '{"text":"two"}')
            self.agx("add", "1/2/s", "--type", "error", "--body", '{"msg":"last"}')
            self.agx("stop", "1/2/s", "--grace", "600")
            self.agx("bridge", "agx:1/2/s", "agent-framework:" + to, *words,
                     status=0 if words else 4)
            copied = [dict(entry) for entry in self.server.entries("agent-stream:" + to)]
            told = [entry.get("error") or entry.get("text") or "done" for entry in copied]
            self.assertEqual(told, ["one", "two", "last"] if words else ["one"], error)
            self.server("DEL", "agx:1:2:s", "agx:1:2:s:live")

    def test_a_type_that_would_end_or_begin_the_copy_is_refused(self):
        def add(kind, text):
            return self.server("XADD", "t", "*", "type", kind, "timestamp", "1.5", "data",
                               '{"text":"%s"}' % text)
        for of, kinds in (("agx:1/2/c", ("end", "begin")), ("agent-framework:c", ("end",))):
            for kind in kinds:
                with self.subTest(to=of, kind=kind):
                    self.server("FLUSHALL")
                    add("event", "one")
                    wrong = add(kind, "two")
                    add("event", "three")
                    add("event", "four")
                    words = ["bridge", "openai-agents:t", of, "--timeout", "0"]
                    self.agx(*words, status=4)
                    why = ("the event %s of openai-agents:t: its type is \"%s\", which would %s the "
                           "session in the format %s" % (wrong, kind, kind, of.partition(":")[0]))
                    self.assertEqual(self.said, "agx: %s; --skip passes over it\n" % why)
                    self.agx(*words, "--skip", status=7)
                    self.assertIn("agx: passed over %s\n" % why, self.said)
                    form, _, name = of.partition(":")
                    out = self.agx("--format", form, "listen", name, "--timeout", "0", status=7)
                    events = [json.loads(line) for line in out.splitlines()]
                    self.assertEqual([(e["type"], e["body"].get("text") or
                                       e["body"].get("content_delta")) for e in events
                                      if e["type"] != "begin"],
                                     [("event", "one"), ("event", "three"), ("event", "four")])
                    self.assertLessEqual(sum(e["type"] == "begin" for e in events), 1)

    def test_where_types_have_no_meaning_they_are_copied(self):
        kinds = ["begin", "end", "error", "token"]
        for kind in kinds:
            self.server("XADD", "t", "*", "type", kind, "data", "{}")
        self.agx("bridge", "openai-agents:t", "openai-agents:c", "--timeout", "0", status=7)
        self.assertEqual([e["type"] for e in self.server.entries("c")], kinds)

    def test_an_end_is_one_where_the_source_has_ends(self):
        self.agx("start", "1/2/s")
        self.agx("add", "1/2/s", "--type", "info")
        self.agx("stop", "1/2/s", "--grace", "600")
        # Another program began it again over what was there.
        for fields in (["begin", "body", "{}"], ["event", "body", '{"text":"Hi"}'], ["end"]):
            self.server("XADD", "agx:1:2:s", "*", "origin", "o", "type", *fields)
        self.agx("bridge", "agx:1/2/s", "agx:1/2/c")
        self.assertEqual([e["type"] for e in self.server.entries("agx:1:2:c")],
                         ["begin", "info", "event", "end"])

    def test_an_error_of_openai_agents_ends_a_copy_only_as_the_last(self):
        def add(kind, text):
            self.server("XADD", "t", "*", "type", kind, "data", '{"text":"%s","msg":"E"}' % text)
        add("event", "one")
        add("error", "")
        words = ["bridge", "openai-agents:t", "agent-framework:c", "--timeout", "0"]
        self.agx(*words, status=7)
        self.assertEqual([e["text"] for e in self.server.entries("agent-stream:c")], ["one"])
        add("event", "two")
        self.agx(*words, status=4)
        self.assertIn("ends with an error, and more follows; --skip", self.said)
        self.agx(*words, "--skip", status=7)
        add("error", "")
        self.agx(*words, "--skip", "--stop")
        self.assertEqual([e.get("error") or e["text"]
                          for e in self.server.entries("agent-stream:c")], ["one", "two", "E"])

    def test_grace_is_how_long_a_finished_copy_stays(self):
        self.server("XADD", "agent-stream:c", "*", "text", "", "done", "true", "sequence", "0")
        for words, least, most in (([], 0, 5000), (["--grace", "700"], 600000, 700000),
                                   (["--grace=1.5"], 0, 1500)):
            self.server("DEL", "agx:1:2:copy", "agx:1:2:copy:from")
            self.agx("bridge", "agent-framework:c", "agx:1/2/copy", *words)
            for key in ("agx:1:2:copy", "agx:1:2:copy:from"):
                left = int(self.server("PTTL", key))
                self.assertGreater(left, least)
                self.assertLessEqual(left, most)
        # Of one that is finished already, as agx stop does.
        self.agx("bridge", "agent-framework:c", "agx:1/2/copy", "--grace", "700")
        self.assertIn("the copy is finished", self.said)
        self.assertGreater(int(self.server("PTTL", "agx:1:2:copy")), 600000)
        self.agx("bridge", "agent-framework:c", "agx:1/2/copy", "--grace", "0")
        self.assertEqual(self.server("KEYS", "agx:*"), [])
        self.agx("bridge", "agent-framework:c", "agx:1/2/copy", "--grace", "never", status=2)
        self.assertIn("--grace", self.said)

    def test_a_copy_that_has_expired_is_made_again(self):
        self.agx("start", "1/2/s")
        self.agx("add", "1/2/s", "--type", "event", "--body", '{"text":"Hi"}')
        self.agx("stop", "1/2/s", "--grace", "600")
        for to, key in (("agx:1/2/copy", "agx:1:2:copy"), ("agent-framework:c", "agent-stream:c")):
            self.agx("bridge", "agx:1/2/s", to)
            before = [{k: v for k, v in e.items() if k != "timestamp"}
                      for e in self.server.entries(key)]
            # As its grace does when it is over.
            self.assertGreater(int(self.server("PTTL", key + ":from")), 0)
            left = int(self.server("PTTL", key))  # asked first: time goes by between the two
            self.assertLessEqual(int(self.server("PTTL", key + ":from")), left)
            for name in (key, key + ":from"):
                self.server("PEXPIRE", name, 1)
            wait_for("the end of the grace", lambda: self.server("EXISTS", key) == "0")
            wait_for("its end", lambda: self.server("EXISTS", key + ":from") == "0")
            self.agx("bridge", "agx:1/2/s", to)
            self.assertEqual([{k: v for k, v in e.items() if k != "timestamp"}
                              for e in self.server.entries(key)], before)

    def test_another_producers_stream_is_left_alone(self):
        self.agx("start", "1/2/copy")
        self.agx("bridge", "openai-agents:t", "agx:1/2/copy", status=5)

    def test_a_second_bridge_goes_on_in_the_firsts_place(self):
        self.server("XADD", "t", "*", "type", "token", "data", "{}")
        words = ["openai-agents:t", "agx:1/2/copy", "--timeout", "never"]
        first = self.bridge(*words)
        wait_for("the first", lambda: self.server("XLEN", "agx:1:2:copy") == "2")
        token = self.server("GET", "agx:1:2:copy:live")
        second = self.bridge(*words)
        wait_for("the second", lambda: self.server("GET", "agx:1:2:copy:live") != token)
        self.assertEqual(first.wait(DEADLINE), 11)
        self.assertIn("another bridge from openai-agents:t, took agx:1/2/copy over",
                      first.stderr.read())
        self.server("XADD", "t", "*", "type", "token", "data", "{}")
        wait_for("its event", lambda: self.server("XLEN", "agx:1:2:copy") == "3")
        self.assertIsNone(second.poll())

    def test_of_bridges_that_overlap_exactly_one_goes_on(self):
        targets = (
            ("agx:1/2/copy", "event", lambda: [
                json.loads(e["body"])["text"] for e in self.server.entries("agx:1:2:copy")
                if e["type"] != "begin"]),
            ("agent-framework:c", "event", lambda: [
                e["text"] for e in self.server.entries("agent-stream:c")]),
            ("openai-agents:c", "token", lambda: [
                json.loads(e["data"])["text"] for e in self.server.entries("c")]),
            ("ag2:c", "a.B", lambda: [
                json.loads(e)["text"] for e in self.server("LRANGE", "ag2:stream:c", 0, -1)]),
        )
        for to, kind, copied in targets:
            for _ in range(2):
                self.server("FLUSHALL")
                written = 0
                def write(count):
                    nonlocal written
                    for _ in range(count):
                        self.server("XADD", "t", "*", "type", kind, "data", '{"text":"%d"}' % written)
                        written += 1
                running = []
                # Two at once, and then two more while the one that is left copies.
                for _ in range(3):
                    for _ in range(2):
                        running.append(self.bridge("openai-agents:t", to, "--wait", "never",
                                                   "--timeout", "never"))
                        write(random.randrange(600))
                    def most_have_ended():
                        write(10)
                        return sum(one.poll() is None for one in running) <= 1
                    wait_for("the end of all but one", most_have_ended)
                    ended = [one.poll() for one in running if one.poll() is not None]
                    self.assertEqual(ended, [11] * (len(running) - 1), to)
                    reached = len(copied())
                    def goes_on():
                        write(10)
                        return len(copied()) > reached + 20
                    wait_for("what the one that is left copies", goes_on)
                    running = [one for one in running if one.poll() is None]
                    self.assertEqual(len(running), 1, to)
                wait_for("all of it", lambda: len(copied()) >= written)
                self.assertEqual(copied(), [str(n) for n in range(written)])
                running[0].kill()
                running[0].wait()

    def test_a_target_that_comes_back_with_an_older_state_is_copied_to_from_there(self):
        def add(n):
            self.server("XADD", "t", "*", "type", "token", "data", '{"n":%d}' % n)
        def copied():
            return [json.loads(e["body"])["n"] for e in self.server.entries("agx:1:2:copy")[1:]]
        add(0)
        self.bridge("openai-agents:t", "agx:1/2/copy", "--timeout", "never")
        wait_for("the first", lambda: copied() == [0])
        older = self.server.dump("agx:1:2:copy"), self.server.dump("agx:1:2:copy:from")
        add(1)
        add(2)
        wait_for("the others", lambda: copied() == [0, 1, 2])
        self.server("MULTI")
        for key, state in zip(("agx:1:2:copy", "agx:1:2:copy:from"), older):
            self.server("RESTORE", key, 0, state, "REPLACE")
        self.server("EXEC")
        self.assertEqual(copied(), [0])
        add(3)
        wait_for("the others again", lambda: copied() == [0, 1, 2, 3])

    def test_a_claim_alone_finishes_nothing(self):
        self.agx("start", "1/2/copy")
        self.agx("stop", "1/2/copy", "--grace", "600")
        # What a bridge leaves that is killed before it has begun the copy.
        self.server("HSET", "agx:1:2:copy:from", "agent-framework:c", "0-0 1-2-3")
        self.server("XADD", "agent-stream:c", "*", "text", "Hi", "sequence", "0")
        self.server("XADD", "agent-stream:c", "*", "text", "", "done", "true", "sequence", "1")
        self.agx("bridge", "agent-framework:c", "agx:1/2/copy")
        self.assertEqual([e["type"] for e in self.server.entries("agx:1:2:copy")],
                         ["begin", "event", "end"])

    def test_a_gap_of_the_source_is_gone_over_and_said_at_the_end(self):
        def add(count):
            return [self.agx("add", "1/2/s", "--type", "event", "--lease", "600").strip()
                    for _ in range(count)]
        self.agx("start", "1/2/s", "--lease", "600")
        add(1)
        for to in ("openai-agents:t", "agx:1/2/c"):
            self.agx("bridge", "agx:1/2/s", to, "--timeout", "0", status=7)
        add(4)
        self.agx("stop", "1/2/s", "--grace", "600")
        self.server("XTRIM", "agx:1:2:s", "MAXLEN", "3")
        for to, kinds in (("openai-agents:t", ["event"] * 3),
                          ("agx:1/2/c", ["begin"] + ["event"] * 3 + ["end"])):
            with self.subTest(to=to):
                self.agx("bridge", "agx:1/2/s", to, "--grace", "600", status=9)
                self.assertRegex(self.said, r"^agx: agx:1/2/s: .*dropped events.*\n$")
                key = "t" if to == "openai-agents:t" else "agx:1:2:c"
                self.assertEqual([e["type"] for e in self.server.entries(key)], kinds)
        # Nothing was missing for one that begins now.
        self.agx("bridge", "agx:1/2/s", "openai-agents:u")
        self.assertEqual(self.said, "")

    def test_what_was_passed_over_is_behind_a_bridge_that_is_begun_again(self):
        # As the first, when the copy is empty, and as the last.
        def add(kind):
            self.server("XADD", "t", "*", "type", kind, "data", '{"text":"Hi"}')
        def copied():
            return [e["text"] for e in self.server.entries("agent-stream:c")]
        words = ["bridge", "openai-agents:t", "agent-framework:c", "--timeout", "0"]
        for before in ([], ["Hi"]):
            add("token")
            self.agx(*words, status=4)
            self.agx(*words, "--skip", status=7)
            self.assertEqual(self.said.count("passed over"), 1)
            self.agx(*words, status=7)
            self.assertEqual(self.said.count("\n"), 1, self.said)
            self.assertEqual(copied(), before)
            add("event")
            self.agx(*words, status=7)
            self.assertEqual(copied(), before + ["Hi"])

    def test_what_is_not_json_is_copied_as_a_json_string(self):
        wrong = ['not "json"', "", '{"a": NaN}', "[1", "\\ \x7f\u2028"]
        for body in wrong:
            self.server("XADD", "t", "*", "type", "token", "data", '{"n":1}')
            self.server("XADD", "t", "*", "type", "token", "data", body)
        for to, key, field in (("agx:1/2/c", "agx:1:2:c", "body"),
                               ("openai-agents:u", "u", "data")):
            with self.subTest(to=to):
                self.agx("bridge", "openai-agents:t", to, "--timeout", "0", status=7)
                copies = [e[field] for e in self.server.entries(key) if e["type"] == "token"]
                self.assertEqual(copies[::2], ['{"n":1}'] * len(wrong))
                self.assertEqual([json.loads(c) for c in copies[1::2]], wrong)

    def test_what_has_no_type_or_origin_is_copied_as_unknown(self):
        self.server("XADD", "t", "*", "data", '{"n":1}')
        self.server("RPUSH", "ag2:stream:s", "[2]")
        self.agx("bridge", "openai-agents:t", "agx:1/2/t", "--timeout", "0", status=7)
        self.agx("bridge", "ag2:s", "agx:1/2/s", "--timeout", "0", status=7)
        self.server("XADD", "agx:1:2:none", "*", "body", "3")
        self.agx("bridge", "agx:1/2/none", "openai-agents:none", "--timeout", "0", status=7)
        copies = self.server.entries("agx:1:2:t")[1:] + self.server.entries("agx:1:2:s")[1:]
        self.assertEqual([(e["type"], e["origin"], e["body"]) for e in copies],
                         [("unknown", "openai-agents", '{"n":1}'), ("unknown", "ag2", "[2]")])
        self.assertEqual([(e["type"], e["metadata"], e["data"])
                          for e in self.server.entries("none")],
                         [("unknown", '{"origin": "unknown"}', "3")])

    def test_a_copy_of_the_same_format_invents_no_type_and_no_origin(self):
        self.server("RPUSH", "ag2:stream:s", '{"n": 1}', "[2]", '{"__type__": 3}', "4")
        self.agx("bridge", "ag2:s", "ag2:t", "--timeout", "0", status=7)
        self.assertEqual(self.server("LRANGE", "ag2:stream:t", 0, -1),
                         self.server("LRANGE", "ag2:stream:s", 0, -1))
        for fields in (["type", "a", "body", "1"], ["origin", "o", "body", "2"], ["body", "3"]):
            self.server("XADD", "agx:1:2:s", "*", *fields)
        self.agx("bridge", "agx:1/2/s", "agx:1/2/t", "--timeout", "0", status=7)
        self.assertEqual(self.server.entries("agx:1:2:t")[1:], self.server.entries("agx:1:2:s"))
        self.server("XADD", "o", "*", "data", '{"n":1}')
        self.agx("bridge", "openai-agents:o", "openai-agents:p", "--timeout", "0", status=7)
        self.assertEqual([sorted(e) for e in self.server.entries("p")], [["data", "timestamp"]])
        # This one cannot do without.
        self.server("XADD", "agent-stream:c", "*", "other", "x")
        self.agx("bridge", "agent-framework:c", "agent-framework:d", "--timeout", "0", status=4)
        self.assertIn("This is an event without a type", self.said)

    def test_ag2_keeps_the_numbers_of_pythons_json(self):
        elements = ['{"__type__":"m.X","a":NaN}', '{"a": NaN}', '{"__event__": "m.Y", "a": [-Infinity]}',
                    "Infinity", '{"__type__": "m.X", "a": 1}']
        self.server("RPUSH", "ag2:stream:s", *elements)
        self.agx("bridge", "ag2:s", "ag2:t", "--timeout", "0", status=7)
        self.assertEqual(self.server("LRANGE", "ag2:stream:t", 0, -1), elements)
        # What openai-agents writes is of Python as well.
        self.server("XADD", "o", "*", "type", "m.X", "data", '{"a": NaN}')
        self.agx("bridge", "openai-agents:o", "ag2:u", "--timeout", "0", status=7)
        self.assertEqual(self.server("LRANGE", "ag2:stream:u", 0, -1),
                         ['{"__type__": "m.X", "a": NaN}'])
        # Other formats have no such numbers: there it is text.
        self.agx("bridge", "ag2:s", "openai-agents:p", "--timeout", "0", status=7)
        self.assertEqual([json.loads(e["data"]) for e in self.server.entries("p")],
                         elements[:-1] + [{"__type__": "m.X", "a": 1}])

    def test_what_is_not_json_is_refused_by_ag2(self):
        good = '{"__type__": "m.X", "n": 1}'
        for wrong, why in (("notjson", "body is not valid JSON at byte 1: "),
                           ("", "its body is empty, which is not JSON"),
                           ('{"__type__": "m.X", "n": }', "body is not valid JSON at byte 25: "),
                           ('{"a": Nan}', "body is not valid JSON at byte 6: ")):
            with self.subTest(wrong=wrong):
                self.server("FLUSHALL")
                self.server("RPUSH", "ag2:stream:s", good, wrong, good)
                words = ["bridge", "ag2:s", "ag2:t", "--timeout", "0"]
                self.agx(*words, status=4)
                self.assertRegex(self.said, r"^agx: the event 2-\d+ of ag2:s: %s.*; --skip passes over "
                                 r"it\n$" % why)
                self.agx(*words, "--skip", status=7)
                self.assertRegex(self.said, r"passed over the event 2-\d+ of ag2:s: %s" % why)
                self.assertEqual(self.server("LRANGE", "ag2:stream:t", 0, -1), [good, good])

    def test_killed_again_and_again_it_neither_loses_nor_repeats(self):
        count = 4000
        source = {
            "agx": ("agx:1/2/s", lambda i: self.server(
                "XADD", "agx:1:2:s", "*", "type", "event", "origin", "o", "body", '{"n":%d}' % i)),
            "ag2": ("ag2:s", lambda i: self.server(
                "RPUSH", "ag2:stream:s", '{"__type__": "a.B", "n": %d}' % i)),
        }
        target = {
            "openai-agents": ("openai-agents:t", lambda: [
                json.loads(e["data"])["n"] for e in self.server.entries("t")]),
            "ag2": ("ag2:t", lambda: [
                json.loads(e)["n"] for e in self.server("LRANGE", "ag2:stream:t", 0, -1)]),
        }
        for of, to in (("agx", "openai-agents"), ("ag2", "ag2")):
            with self.subTest(of=of, to=to):
                self.server("FLUSHALL")
                from_word, write = source[of]
                to_word, read = target[to]
                written = kills = 0
                process = self.bridge(from_word, to_word, "--wait", "never", "--timeout", "never")
                while written < count:
                    until = time.monotonic() + random.uniform(0.01, 0.08)
                    while written < count and time.monotonic() < until:
                        write(written)
                        written += 1
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kills += 1
                    process = self.bridge(from_word, to_word, "--wait", "never", "--timeout",
                                          "never")
                wait_for("all of it", lambda: len(read()) >= count)
                self.assertEqual(read(), list(range(count)))
                self.assertGreater(kills, 1)
                self.assertIsNone(process.poll())
                process.kill()
                process.wait()


if __name__ == "__main__":
    unittest.main(verbosity=2)
