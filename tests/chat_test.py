#!/usr/bin/env python3
# examples/chat and agx chat, against a model that plays what a test tells it to.
# ctest-labels: redis threads
# ctest-timeout: 240
import contextlib
import http.server
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import cli_test as cli
from cli_test import DEADLINE, wait_for

CHAT = os.path.join(os.environ["AGX_EXAMPLES"], "chat")
# Long beside how soon something is noticed, short beside how long it would have taken.
SOON = 10.0
NEVER_MS = "600000"


class Exchange:
    """A request to the model, and what it answers."""

    def __init__(self, handler, model):
        self.handler = handler
        self.model = model
        self.headers = handler.headers
        self.body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))

    def reply(self, status, body=b"", **headers):
        self.handler.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.handler.send_header(name.replace("_", "-"), str(value))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def begin(self):
        self.handler.send_response(200)
        self.handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()

    def send(self, data):
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.handler.wfile.flush()

    def event(self, data):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send(b"data: " + data + b"\n\n")

    def delta(self, finish_reason=None, **delta):
        self.event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "test-1",
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    def end(self, finish_reason="stop"):
        self.delta(finish_reason)
        self.event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "test-1",
                    "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}})
        self.event(b"[DONE]")
        self.close()

    def close(self):
        self.handler.wfile.write(b"0\r\n\r\n")

    def wait(self, event):
        if not event.wait(DEADLINE):
            self.model.problems.append("the test did not let the model go on")

    def until_hung_up(self):
        """Says no more, and sees the other side close the connection."""
        with contextlib.suppress(OSError):
            self.handler.connection.settimeout(DEADLINE)
            while self.handler.connection.recv(4096):
                pass
            self.model.hung_up.set()


class Model:
    """A server that answers each request with the next function of its script."""

    def __init__(self, *script, tls=None):
        self.script = list(script)
        self.requests = []
        self.problems = []
        self.hung_up = threading.Event()
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                exchange = Exchange(self, model)
                model.requests.append(exchange)
                if self.path.split("?")[0] != "/v1/chat/completions" or not model.script:
                    model.problems.append("unexpected request of " + self.path)
                    exchange.reply(500, b"unexpected")
                    return
                with contextlib.suppress(ConnectionError):
                    model.script.pop(0)(exchange)
                self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # of a client that hung up, or that does not like our certificate

        self.http = Server(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        self.url = "%s://127.0.0.1:%d/v1" % ("https" if tls else "http", self.port)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def answer(*texts):
    def play(exchange):
        exchange.begin()
        exchange.delta(role="assistant", content="")
        for text in texts:
            exchange.delta(content=text)
        exchange.end()
    return play


def call(*calls):
    """Tool calls: (id, name, arguments), piece by piece, as models send them."""
    def play(exchange):
        exchange.begin()
        for i, (identifier, name, arguments) in enumerate(calls):
            exchange.delta(tool_calls=[{"index": i, "id": identifier, "type": "function",
                                        "function": {"name": name, "arguments": ""}}])
            for start in range(0, len(arguments), 7):
                piece = {"arguments": arguments[start:start + 7]}
                exchange.delta(tool_calls=[{"index": i, "function": piece}])
        exchange.end("tool_calls")
    return play


def refuse(status, body=b"", **headers):
    return lambda exchange: exchange.reply(status, body, **headers)


def calculate(expression, identifier="c1"):
    return (identifier, "calculate", json.dumps({"expression": expression}))


class Running:
    """An agent at work, and somebody who listens to its session."""

    def __init__(self, command, environment, name, stdin=subprocess.DEVNULL):
        self.listener = cli.Piped("listen", name, "--wait", str(DEADLINE), "--end")
        self.process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=environment)
        self.events = []

    def until(self, wanted):
        """The first event whose body has these members."""
        for event in self.events:
            if wanted.items() <= event["body"].items():
                return event
        while True:
            event = json.loads(self.listener.line())
            self.events.append(event)
            if wanted.items() <= event["body"].items():
                return event

    def end(self, deadline=DEADLINE):
        out, err = self.process.communicate(timeout=deadline)
        self.status, self.out, self.err = self.process.returncode, out.decode(), err.decode()
        return self.status

    def heard(self):
        """All events, once the session has ended."""
        status, rest, err = self.listener.end()
        if status != 0:
            raise AssertionError("the listener: %d %s" % (status, err))
        self.events += [json.loads(line) for line in rest.splitlines()]
        return self.events

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        self.listener.__exit__()


def short(events):
    """Events without what differs from run to run."""
    out = []
    for event in events:
        body = event["body"]
        kind = body.get("event", "")
        if event["type"] != "event":
            out.append(event["type"] + (" " + body["msg"] if "msg" in body else ""))
        elif kind == "part_start" and body["part_kind"] == "tool-call":
            out.append("%d call %s %s %s" % (body["idx"], body["tool_name"], body["tool_call_id"],
                                             json.dumps(body["args"])))
        elif kind == "part_start" and body["part_kind"] == "tool-return":
            out.append("%d return %s %s %s" % (body["idx"], body["tool_name"],
                                               body["tool_call_id"], json.dumps(body["content"])))
        elif kind == "part_start":
            out.append("%d %s %s" % (body["idx"], body["part_kind"], body["content"]))
        elif kind == "part_delta":
            out.append("%d + %s" % (body["idx"], body["content_delta"]))
        else:
            out.append("%d %s" % (body["idx"], kind))
    return out


def setUpModule():
    cli.setUpModule()


def tearDownModule():
    cli.tearDownModule()


class Case(cli.Case):
    def environment(self, model, **extra):
        url = model.url if isinstance(model, Model) else model
        return cli.environment(**{
            "AGX_URL": cli.server.url, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-secret",
            "OPENAI_MODEL": None, "NO_PROXY": "*", **extra})

    def start(self, model, prompt="Hello?", more=(), **extra):
        # What is left of a run before would be all that the listener gets.
        if not self.redis("EXISTS", self.key + ":live"):
            self.redis("DEL", self.key)
        return Running(self.command(prompt, *more), self.environment(model, **extra), self.name)

    def run_through(self, model, prompt="Hello?", more=(), **extra):
        with self.start(model, prompt, more, **extra) as running:
            running.end()
            running.heard()
            running.raw = self.raw()
        if isinstance(model, Model):
            self.assertEqual(model.problems, [])
        self.assertNotIn("sk-secret", running.out + running.err)
        return running

    def raw(self):
        """The session's entries, as another client of the store sees them."""
        out = []
        for identifier, fields in self.redis("XRANGE", self.key, "-", "+"):
            entry = dict(zip(*[iter(f.decode() for f in fields)] * 2))
            out.append({"id": identifier.decode(), "type": entry["type"],
                        "origin": entry["origin"], "body": json.loads(entry.get("body", "{}"))})
        return out

    def conversation(self):
        text = self.redis("GET", self.key + ":messages")
        return None if text is None else json.loads(text)

    def fails_with(self, running, status, message):
        """It failed with this message, and says so wherever somebody may look."""
        self.assertEqual(running.status, self.statuses[status], running.err)
        [error] = [e["body"]["msg"] for e in running.events if e["type"] == "error"]
        self.assertTrue(error.startswith("crashed - "), error)
        self.assertIn(message, error)
        self.assertIn(error[len("crashed - "):], running.err)
        self.assertEqual(running.events[-1]["type"], "end")
        self.assertEqual(running.raw, running.events)
        self.assertEqual(self.redis("EXISTS", self.key + ":live"), 0)
        self.assertIsNone(self.conversation())

    def was_canceled(self, running, status="canceled"):
        self.assertEqual(running.status, self.statuses[status], running.err)
        self.assertEqual(short(running.heard())[-2:], ["error canceled", "end"])
        self.assertEqual(self.redis("EXISTS", self.key + ":live"), 0)
        self.assertIsNone(self.conversation())


class Answers:
    """What is true of both programs."""

    def test_a_plain_answer(self):
        with Model(answer("Hello", ", ", "world\n")) as model:
            running = self.run_through(model)
        self.assertEqual((running.status, running.err), (0, ""))
        self.assertEqual(short(running.events), [
            "begin", "0 llm-begin", "0 text Hello", "0 answer", "0 + , ", "0 + world\n",
            "0 llm-end", "end"])
        self.assertEqual(running.raw, running.events)
        [request] = model.requests
        self.assertEqual(request.headers["Authorization"], "Bearer sk-secret")
        self.assertEqual(request.headers["Content-Type"], "application/json")
        self.assertEqual(request.body["messages"], [{"role": "user", "content": "Hello?"}])
        self.assertEqual((request.body["model"], request.body["stream"]), ("test-1", True))
        self.assertEqual([tool["function"]["name"] for tool in request.body["tools"]],
                         ["current_time", "calculate"])
        question, said = self.conversation()
        self.assertEqual(question["parts"][0]["content"], "Hello?")
        self.assertEqual(said["parts"][0]["content"], "Hello, world\n")
        self.assertEqual(said["usage"]["output_tokens"], 7)

    def test_the_conversation_is_remembered(self):
        with Model(answer("One."), answer("Two.")) as model:
            self.run_through(model, "First?")
            running = self.run_through(model, "Second?")
        self.assertEqual(running.status, 0)
        # The session began afresh: it is the second run's alone.
        self.assertEqual(short(running.raw), ["begin", "0 llm-begin", "0 text Two.", "0 answer",
                                              "0 llm-end", "end"])
        self.assertEqual(model.requests[1].body["messages"], [
            {"role": "user", "content": "First?"}, {"role": "assistant", "content": "One."},
            {"role": "user", "content": "Second?"}])
        self.assertEqual(len(self.conversation()), 4)

    def test_thinking_tools_and_an_answer(self):
        def think(exchange):
            exchange.begin()
            exchange.delta(role="assistant", content="", reasoning_content="I need ")
            exchange.delta(reasoning_content="both tools.")
            for i, (identifier, name, arguments) in enumerate((
                    calculate("17 * 23"), ("t1", "current_time", "{}"))):
                exchange.delta(tool_calls=[{"index": i, "id": identifier, "type": "function",
                                            "function": {"name": name, "arguments": ""}}])
                exchange.delta(tool_calls=[{"index": i, "function": {"arguments": arguments}}])
            exchange.end("tool_calls")

        with Model(think, answer("391, by now."), answer("Yes.")) as model:
            running = self.run_through(model, "17 * 23, and when?")
            self.run_through(model, "Sure?")
        self.assertEqual((running.status, running.err), (0, ""))
        [now] = [e["body"]["content"] for e in running.events
                 if e["body"].get("tool_call_id") == "t1" and "content" in e["body"]]
        self.assertRegex(now, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(short(running.events), [
            "begin", "0 llm-begin", "0 thinking I need ", "0 + both tools.",
            '0 call calculate c1 {"expression": "17 * 23"}', "0 call current_time t1 {}",
            "0 llm-end", "1 llm-begin", "1 return calculate c1 391",
            '1 return current_time t1 "%s"' % now, "1 text 391, by now.", "1 answer",
            "1 llm-end", "end"])
        self.assertEqual(running.raw, running.events)
        told = [{"role": m["role"], "content": m.get("content"), "id": m.get("tool_call_id")}
                for m in model.requests[1].body["messages"]]
        self.assertEqual(told, [
            {"role": "user", "content": "17 * 23, and when?", "id": None},
            {"role": "assistant", "content": None, "id": None},
            {"role": "tool", "content": "391", "id": "c1"},
            {"role": "tool", "content": now, "id": "t1"}])
        self.assertEqual([c["function"]["name"] for c in
                          model.requests[1].body["messages"][1]["tool_calls"]],
                         ["calculate", "current_time"])
        self.assertEqual([m["role"] for m in model.requests[2].body["messages"]],
                         ["user", "assistant", "tool", "tool", "assistant", "user"])

    def test_arithmetic(self):
        # Of each line the model gets a number, or what it should do better.
        cases = [("1+2*3", "7"), ("(1+2)*3", "9"), ("2^3^2", "512"), ("-2^2", "-4"),
                 ("7%4", "3"), ("10/4", "2.5"), (" 1e3 - .5 ", "999.5"), ("2--2", "4"),
                 ("1/0", "division by zero"), ("5%0", "division by zero"),
                 ("9^9^9^9", "not a finite number"), ("(-1)^0.5", "not a finite number"),
                 ("1e999", "too large"), ("", "not complete"), ("1+", "not complete"),
                 ("(1", "not closed"), ("1)", "')' at character 2"), ("2 3", "'3' at character 3"),
                 ("inf", "'i'"), ("0x10", "'x'"), ("system(1)", "'s'"), ("1\x00+1", "'\\u0000'"),
                 ("(" * 400 + "1" + ")" * 400, "too deep"), ("-" * 900 + "1", "too deep"),
                 ("2^" * 400 + "1", "too deep"), ("1+" * 5000 + "1", "too long"),
                 ("-9223372036854775808/-1", "9223372036854775807")]
        calls = [calculate(text, "c%d" % i) for i, (text, _) in enumerate(cases)]
        with Model(call(*calls), answer("Done.")) as model:
            running = self.run_through(model)
        self.assertEqual(running.status, 0)
        told = [m["content"] for m in model.requests[1].body["messages"] if m["role"] == "tool"]
        self.assertEqual(len(told), len(cases))
        for (text, wanted), got in zip(cases, told):
            with self.subTest(expression=text[:40]):
                if wanted[-1].isdigit() and not wanted.startswith("'"):
                    self.assertAlmostEqual(float(got), float(wanted))
                elif text != "1\x00+1":
                    self.assertIn(wanted, got)
                    self.assertIn("cannot be calculated", got)

    def test_calls_that_are_wrong(self):
        with Model(call(("a", "no_such_tool", "{}"), ("b", "calculate", "{"),
                        ("c", "calculate", '{"expression": 1}'), ("d", "calculate", "[1]")),
                   answer("I see.")) as model:
            running = self.run_through(model)
        self.assertEqual((running.status, running.err), (0, ""))
        told = [m["content"] for m in model.requests[1].body["messages"] if m["role"] == "tool"]
        for wanted, got in zip(("no tool no_such_tool", "not a JSON object", "a string",
                                "not a JSON object"), told):
            self.assertIn(wanted, got)
        self.assertEqual([line.split()[:4] for line in short(running.events) if " return " in line],
                         [["1", "return", "no_such_tool", "a"], ["1", "return", "calculate", "b"],
                          ["1", "return", "calculate", "c"], ["1", "return", "calculate", "d"]])

    def test_an_answer_is_shown_while_it_grows(self):
        go_on = threading.Event()

        def play(exchange):
            exchange.begin()
            exchange.delta(content="slowly")
            exchange.wait(go_on)
            exchange.delta(content=" but surely")
            exchange.end()

        with Model(play) as model, self.start(model) as running:
            running.until({"event": "part_start", "content": "slowly"})
            seen = ""
            while "slowly" not in seen:
                if not select.select([running.process.stdout], [], [], DEADLINE)[0]:
                    self.fail("nothing was printed")
                seen += os.read(running.process.stdout.fileno(), 4096).decode()
            self.assertNotIn("surely", seen)
            go_on.set()
            self.assertEqual(running.end(), 0)
            self.assertIn("surely", running.out)

    def test_a_stream_that_is_cut(self):
        def cut(exchange):
            exchange.begin()
            exchange.delta(content="The answer is")
            exchange.handler.connection.shutdown(socket.SHUT_RDWR)

        def stop(exchange):
            exchange.begin()
            exchange.delta(content="The answer is")
            exchange.close()

        for play, says in ((cut, "127.0.0.1"), (stop, "broke off")):
            with self.subTest(play=play.__name__), Model(play) as model:
                running = self.run_through(model)
                self.fails_with(running, "failed", says)
                self.assertEqual(short(running.events)[:-2], [
                    "begin", "0 llm-begin", "0 text The answer is", "0 answer", "0 llm-end"])

    def test_an_error_in_the_middle(self):
        def play(exchange):
            exchange.begin()
            exchange.delta(content="Well")
            exchange.event({"error": {"message": "The server is overloaded", "code": 503}})
            exchange.close()

        with Model(play) as model:
            running = self.run_through(model)
        self.fails_with(running, "failed", "The server is overloaded")
        self.assertIn("0 text Well", short(running.events))

    def test_http_errors(self):
        page = b"<html><title>Bad gateway</title>\n<body>   nginx</body></html>"
        for play, says in (
                (refuse(401, b'{"error": {"message": "Incorrect API key", "code": "x"}}'),
                 "status 401: Incorrect API key"),
                (refuse(404, b'{"error": "model not found"}'), "status 404: model not found"),
                (refuse(429, b'{"message": "Slow down"}', Retry_After=7),
                 "status 429: Slow down (try again in 7 s)"),
                (refuse(500), "status 500"),
                (refuse(502, page), "status 502: <html><title>Bad gateway"),
                (refuse(500, b"\x00\x1b[2J \r\n stop" * 99), "status 500: [2J stop"),
                (refuse(500, b"[" * 100000), "status 500"),
                (refuse(500, "é".encode() * 100000), "status 500: é"),
                (refuse(302, b"", Location="http://127.0.0.1:1/"), "status 302"),
                (refuse(200, page, Content_Type="text/html"), "no event stream"),
                (refuse(200, b'{"error": {"message": "quota"}}'), "quota"),
                (refuse(200, b""), "holds no event")):
            with self.subTest(says=says), Model(play) as model:
                running = self.run_through(model)
                self.fails_with(running, "failed", says)
                self.assertLess(len(running.err), 1000)

    def test_nobody_there(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        running = self.run_through("http://user:pw@127.0.0.1:%d/v1" % port)
        self.fails_with(running, "failed", "127.0.0.1:%d: Failed to connect" % port)
        self.assertNotIn("pw", running.err)
        running = self.run_through("http://no.such.host.invalid/v1")
        self.fails_with(running, "failed", "no.such.host.invalid")

    def test_broken_tls(self):
        with Model() as model:
            running = self.run_through("https://127.0.0.1:%d/v1" % model.port)
            self.fails_with(running, "failed", "127.0.0.1:%d: " % model.port)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                            "key.pem", "-out", "cert.pem", "-subj", "/CN=127.0.0.1", "-days", "2"],
                           cwd=folder, check=True, capture_output=True, timeout=DEADLINE)
            files = [os.path.join(folder, name) for name in ("cert.pem", "key.pem")]
            with Model(answer("Gullible."), tls=files) as model:
                running = self.run_through(model)
                self.fails_with(running, "failed", "certificate")
                self.assertEqual(model.requests, [])

    def test_a_huge_event(self):
        size = 10 * 1024 * 1024
        with Model(answer("x" * size)) as model:
            running = self.run_through(model)
        self.assertEqual((running.status, running.err), (0, ""))
        self.assertEqual(len(self.conversation()[1]["parts"][0]["content"]), size)

    def test_a_bottomless_event(self):
        def play(exchange):
            exchange.begin()
            exchange.delta(content="Look: ")
            exchange.event(b'{"choices": ' + b"[" * 1000000 + b"]" * 1000000 + b"}")
            exchange.until_hung_up()

        with Model(play) as model:
            running = self.run_through(model)
        self.fails_with(running, "failed", "not JSON")

    def test_what_is_no_utf_8(self):
        def play(exchange):
            exchange.begin()
            exchange.event(b'{"id": "1", "choices": [{"index": 0, "delta": '
                           b'{"content": "a\xff\xc3(b\xed\xa0\x80"}}]}')
            exchange.end()

        with Model(play, answer("Fine.")) as model:
            running = self.run_through(model)
            self.assertEqual((running.status, running.err), (0, ""))
            [text] = [e["body"]["content"] for e in running.events if "content" in e["body"]]
            self.assertRegex(text, "^a\ufffd+\\(b\ufffd+$")
            self.assertEqual(self.run_through(model).status, 0)
        self.assertEqual(model.requests[1].body["messages"][1]["content"], text)

    def test_calls_without_end(self):
        with Model(*[call(calculate("1+1"))] * 17) as model:
            running = self.run_through(model)
        self.fails_with(running, "failed", "still calls tools after 16 rounds")
        self.assertEqual(len(model.requests), 16)

    def cancel_when(self, running, wanted):
        running.until(wanted)
        self.ok("cancel", self.name)
        running.end(SOON)
        self.was_canceled(running)

    def test_cancel_of_a_slow_answer(self):
        def play(exchange):
            exchange.begin()
            exchange.delta(content="Let me see ")
            exchange.until_hung_up()

        with Model(play) as model, self.start(model) as running:
            self.cancel_when(running, {"event": "part_start"})
            self.assertTrue(model.hung_up.wait(DEADLINE))
            self.assertEqual(short(running.events), [
                "begin", "0 llm-begin", "0 text Let me see ", "0 answer", "0 llm-end",
                "error canceled", "end"])

    def test_cancel_of_an_answer_that_does_not_begin(self):
        with Model(lambda exchange: exchange.until_hung_up()) as model, \
                self.start(model) as running:
            wait_for("the request", lambda: model.requests)
            self.cancel_when(running, {"event": "llm-begin"})
            self.assertTrue(model.hung_up.wait(DEADLINE))

    def test_cancel_of_a_connect_that_hangs(self):
        # Of a listener whose queue is full the kernel does not answer at all.
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
            running = stack.enter_context(self.start("http://127.0.0.1:%d/v1" % address[1]))
            self.cancel_when(running, {"event": "llm-begin"})

    def test_cancel_of_a_slow_tool(self):
        with Model(call(calculate("6*7"))) as model, \
                self.start(model, CHAT_TOOL_DELAY_MS=NEVER_MS) as running:
            self.cancel_when(running, {"event": "llm-end"})
            self.assertEqual(short(running.events), [
                "begin", "0 llm-begin", '0 call calculate c1 {"expression": "6*7"}', "0 llm-end",
                "error canceled", "end"])

    def test_after_a_cancel_the_conversation_goes_on(self):
        def play(exchange):
            exchange.begin()
            exchange.until_hung_up()

        with Model(answer("One."), play, answer("Three.")) as model:
            self.run_through(model, "First?")
            with self.start(model, "Second?") as running:
                wait_for("the request", lambda: len(model.requests) == 2)
                self.ok("cancel", self.name)
                running.end(SOON)
                self.assertEqual(running.status, self.statuses["canceled"])
                running.heard()
            self.assertEqual(self.run_through(model, "Third?").status, 0)
        # What was cancelled is not part of it.
        self.assertEqual([m["content"] for m in model.requests[2].body["messages"]],
                         ["First?", "One.", "Third?"])

    def test_ctrl_c(self):
        def play(exchange):
            exchange.begin()
            exchange.delta(content="Let me see ")
            exchange.until_hung_up()

        with Model(play) as model, self.start(model) as running:
            running.until({"event": "part_start"})
            running.process.send_signal(signal.SIGINT)
            running.end(SOON)
            self.was_canceled(running, "interrupted")

    def test_one_that_is_live_already(self):
        self.ok("start", self.name)
        with Model() as model, self.start(model) as running:
            running.end()
            self.assertEqual(running.status, self.statuses["busy"])
            self.assertIn("live", running.err)
            self.assertEqual(model.requests, [])
            self.ok("stop", self.name)

    def test_taken_over(self):
        with Model(lambda exchange: exchange.until_hung_up()) as model, \
                self.start(model) as running:
            running.until({"event": "llm-begin"})
            self.ok("start", self.name, "--take-over")
            running.end(SOON)
            self.assertEqual(running.status, self.statuses["taken over"], running.err)
            self.assertTrue(model.hung_up.wait(DEADLINE))
            self.assertNotIn("error", [entry["type"] for entry in self.raw()])
            self.assertEqual(self.redis("EXISTS", self.key + ":live"), 1)
            self.ok("stop", self.name)
            self.assertNotIn("error", [event["type"] for event in running.heard()])

    def test_the_connection_to_the_store_is_lost(self):
        go_on = threading.Event()

        def play(exchange):
            exchange.begin()
            exchange.delta(content="before")
            exchange.wait(go_on)
            exchange.delta(content=" after")
            exchange.end()

        with Model(play) as model, self.start(model) as running:
            running.until({"event": "part_start"})
            self.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            go_on.set()
            self.assertEqual(running.end(), 0, running.err)
            self.assertEqual(short(running.heard()), [
                "begin", "0 llm-begin", "0 text before", "0 answer", "0 +  after", "0 llm-end",
                "end"])

    def test_settings_that_are_wrong(self):
        with Model() as model:
            for extra, says in (({"OPENAI_BASE_URL": "ftp://127.0.0.1/v1"}, "OPENAI_BASE_URL"),
                                ({"OPENAI_BASE_URL": "no url"}, "OPENAI_BASE_URL"),
                                ({"OPENAI_API_KEY": "a\r\nX-Evil: 1"}, "OPENAI_API_KEY")):
                with self.subTest(says=says):
                    done = subprocess.run(self.command("Hello?"), capture_output=True,
                                          stdin=subprocess.DEVNULL, timeout=DEADLINE,
                                          env=self.environment(model, **extra))
                    self.assertEqual(done.returncode, self.statuses["usage"])
                    self.assertIn(says, done.stderr.decode())
            self.assertEqual(model.requests, [])

    def test_a_server_without_keys_and_with_a_query(self):
        with Model(answer("Hi.")) as model:
            running = self.run_through(model.url + "/?api-version=1", OPENAI_API_KEY=None)
        self.assertEqual(running.status, 0)
        self.assertNotIn("Authorization", model.requests[0].headers)
        self.assertEqual(model.requests[0].handler.path, "/v1/chat/completions?api-version=1")


class Example(Answers, Case):
    statuses = {"usage": 1, "failed": 1, "canceled": 1, "interrupted": 1, "busy": 1,
                "taken over": 1}

    def command(self, prompt):
        return [CHAT, self.id, prompt, "test-1"]

    def test_what_it_prints(self):
        with Model(call(calculate("6*7")), answer("It is ", "42.")) as model:
            running = self.run_through(model)
        self.assertEqual(running.out, "[calculate]\nIt is 42.\n")

    def test_usage(self):
        for words in ([], ["s"], ["s", "prompt"], ["s", "prompt", "model", "more"]):
            done = subprocess.run([CHAT] + words, capture_output=True, timeout=DEADLINE,
                                  env=self.environment("http://127.0.0.1:1"))
            self.assertEqual(done.returncode, 2)
            self.assertIn(b"usage: chat SESSION PROMPT [MODEL]", done.stderr)


class Command(Answers, Case):
    statuses = {"usage": 2, "failed": 12, "canceled": 10, "interrupted": 130, "busy": 5,
                "taken over": 11}

    def command(self, prompt, *more):
        return [cli.options.agx, "chat", self.name, "--model", "test-1", *more, "--", prompt]

    def test_what_it_prints(self):
        with Model(answer("It is."), call(calculate("6*7")), answer("It is ", "42.")) as model:
            running = self.run_through(model)
            self.assertEqual([json.loads(line) for line in running.out.splitlines()],
                             running.events[:-1])
            running = self.run_through(model, more=["--pretty"])
        lines = running.out.splitlines()
        self.assertRegex(lines[0], r"^▶ began")
        self.assertEqual(lines[1:-1], ['→ calculate expression="6*7"', "← calculate: 42",
                                       "● It is 42."])
        self.assertRegex(lines[-1], r"^■ ended after")

    def test_a_failure_for_people(self):
        with Model(refuse(401, b'{"error": {"message": "Incorrect API key"}}')) as model:
            running = self.run_through(model, more=["--pretty"])
        self.assertEqual((running.status, running.err), (12, ""))
        self.assertIn("✗ crashed - 127.0.0.1:%d answers with HTTP status 401: Incorrect API key\n"
                      % model.port, running.out)
        self.assertIn("■ ended with an error after", running.out)

    def test_a_system_prompt_begins_a_conversation(self):
        with Model(answer("One."), answer("Two.")) as model:
            for _ in range(2):
                self.run_through(model, more=["--system", "Be brief."])
        for request in model.requests:
            self.assertEqual([m["content"] for m in request.body["messages"]
                              if m["role"] == "system"], ["Be brief."])

    def test_silence(self):
        def play(exchange):
            exchange.begin()
            exchange.delta(content="Well, ")
            exchange.until_hung_up()

        for say_nothing in (play, lambda exchange: exchange.until_hung_up()):
            with Model(say_nothing) as model:
                running = self.run_through(model, more=["--timeout", "0.3"])
                self.assertTrue(model.hung_up.wait(DEADLINE))
            self.fails_with(running, "failed", "has been silent for 0.3 s")

    def test_patience_has_no_bounds(self):
        for seconds in ("never", "-1", "9" * 18, "9" * 40):
            with Model(answer("Hi.")) as model:
                self.assertEqual(self.run_through(model, more=["--timeout", seconds]).status, 0)

    def test_prompts_from_standard_input(self):
        command = [cli.options.agx, "chat", self.name, "--model", "test-1"]
        with Model(answer("Hi.")) as model:
            env = self.environment(model)
            done = subprocess.run(command, input=b"two\nlines\n\n", capture_output=True,
                                  timeout=DEADLINE, env=env)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            for text in (b"", b" \n", b"a\0b"):
                done = subprocess.run(command, input=text, capture_output=True, timeout=DEADLINE,
                                      env=env)
                self.assertEqual(done.returncode, 2)
        self.assertEqual(model.requests[0].body["messages"][0]["content"], "two\nlines")

    def test_which_model(self):
        command = [cli.options.agx, "chat", self.name, "Hello?"]
        with Model(answer("Hi.")) as model:
            done = subprocess.run(command, capture_output=True, timeout=DEADLINE,
                                  env=self.environment(model))
            self.assertEqual(done.returncode, 2)
            self.assertIn(b"which model?", done.stderr)
            done = subprocess.run(command, capture_output=True, timeout=DEADLINE,
                                  env=self.environment(model, OPENAI_MODEL="named"))
            self.assertEqual(done.returncode, 0)
        self.assertEqual(model.requests[0].body["model"], "named")

    def terminal(self, model, *words):
        return cli.Terminal("chat", self.name, "--model", "test-1", *words,
                            env={k: v for k, v in self.environment(model).items()
                                 if k.startswith("OPENAI_") or k == "NO_PROXY"})

    def test_line_by_line(self):
        with Model(answer("One."), answer("Two."), refuse(500)) as model, \
                self.terminal(model) as terminal:
            for prompt, wanted in ((b"First?\n", "● One."), (b" \nSecond?\n", "● Two."),
                                   (b"Third?\n", "HTTP status 500")):
                terminal.until("> ")
                terminal.key(prompt)
                terminal.until(wanted)
                terminal.seen = terminal.until("ended")
            terminal.key(b"\x04")
            self.assertEqual(terminal.end()[0], 0)
        self.assertEqual([m["content"] for m in model.requests[2].body["messages"]],
                         ["First?", "One.", "Second?", "Two.", "Third?"])

    def test_ctrl_c_on_a_terminal(self):
        def play(exchange):
            exchange.begin()
            exchange.delta(content="Let me see ")
            exchange.until_hung_up()

        with Model(play, answer("Yes.")) as model:
            with self.terminal(model) as terminal:
                terminal.until("> ")
                terminal.key(b"Hello?\n")
                terminal.until("Let me see")
                terminal.key(b"\x03")
                status, seen = terminal.end()
                self.assertEqual(status, 130)
                self.assertIn("■ canceled after", seen)
            with self.terminal(model) as terminal:
                terminal.until("> ")
                terminal.key(b"Hello?\n")
                terminal.until("\n> ")
                terminal.key(b"\x03")
                self.assertEqual(terminal.end()[0], -signal.SIGINT)

    def test_nobody_reads(self):
        with Model(answer("Nobody", " reads", " this.")) as model:
            process = subprocess.Popen(self.command("Hello?"), stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                       env=self.environment(model))
            process.stdout.close()
            self.assertEqual((process.stderr.read(), process.wait(DEADLINE)), (b"", 0))
            process.stderr.close()
        self.assertEqual(self.conversation()[1]["parts"][0]["content"], "Nobody reads this.")

    def test_in_memory(self):
        with Model(answer("Hi.")) as model:
            done = subprocess.run(self.command("Hello?"), capture_output=True, timeout=DEADLINE,
                                  env=self.environment(model, AGX_URL="memory:"))
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b'"content":"Hi."', done.stdout)


class Without(cli.Case):
    def test_a_build_without_libcurl_says_so(self):
        self.fails(4, "chat", self.name, "Hello?", says="without libcurl")


def load_tests(loader, standard, _):
    if os.environ["AGX_CURL"] != "1":
        return loader.loadTestsFromTestCase(Without)
    return unittest.TestSuite(loader.loadTestsFromTestCase(c) for c in (Example, Command))


if __name__ == "__main__":
    cli.options.agx = os.environ["AGX"]
    cli.options.redis_server = os.environ.get("AGX_REDIS_SERVER", "redis-server")
    unittest.main(argv=[sys.argv[0]] + sys.argv[1:])
