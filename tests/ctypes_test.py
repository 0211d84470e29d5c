#!/usr/bin/env python3
# ctest-labels: dlopen redis
"""A program without a compiler: Python's ctypes loads libagx.so, writes a session, replays it and
follows it live, in memory and on a Redis."""
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

AGX_OK, AGX_TIMEOUT, AGX_ENDED = 0, 1, 2
AGX_EINVAL, AGX_ECLOSED = -1, -3
ID_SIZE = 42

library = ctypes.CDLL(os.environ["AGX_LIBRARY"])
handle = ctypes.c_void_p
text = ctypes.c_char_p
number = ctypes.c_int64
to_handle = ctypes.POINTER(handle)
to_size = ctypes.POINTER(ctypes.c_size_t)


def declare(name, result, *arguments):
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


status = ctypes.c_int
agx_version = declare("agx_version", ctypes.c_int)
agx_version_string = declare("agx_version_string", text)
agx_status_string = declare("agx_status_string", text, status)
agx_last_error = declare("agx_last_error", text)
agx_open = declare("agx_open", status, text, handle, to_handle)
agx_close = declare("agx_close", None, handle)
agx_session_open = declare("agx_session_open", status, handle, number, number, text, to_handle)
agx_session_close = declare("agx_session_close", None, handle)
agx_start = declare("agx_start", status, handle, handle)
agx_stop = declare("agx_stop", status, handle, number)
agx_add = declare("agx_add", status, handle, text, text, text, text)
agx_cancel = declare("agx_cancel", status, handle, ctypes.POINTER(ctypes.c_int))
agx_wait_canceled = declare("agx_wait_canceled", status, handle, number)
agx_is_canceled = declare("agx_is_canceled", ctypes.c_int, handle)
agx_listen = declare("agx_listen", status, handle, handle, to_handle)
agx_listen_next = declare("agx_listen_next", status, handle, number, to_handle)
agx_listener_close = declare("agx_listener_close", None, handle)
agx_listener_position = declare("agx_listener_position", status, handle, text)
agx_event_json = declare("agx_event_json", status, handle, ctypes.c_int, ctypes.POINTER(text), to_size)
agx_event_body = declare("agx_event_body", text, handle, to_size)
agx_event_type = declare("agx_event_type", text, handle, to_size)
agx_event_time = declare("agx_event_time", number, handle)
agx_event_free = declare("agx_event_free", None, handle)


def opened(call, *arguments):
    result = handle()
    told = call(*arguments, ctypes.byref(result))
    assert told == AGX_OK, (agx_status_string(told), agx_last_error())
    return result


class Server:
    """A redis-server on a socket in a directory of its own."""

    def __init__(self):
        program = os.environ.get("AGX_REDIS_SERVER") or shutil.which("redis-server") or "valkey-server"
        self.directory = tempfile.mkdtemp(prefix="agx-test-", dir="/tmp")
        self.path = os.path.join(self.directory, "socket")
        self.process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", self.path, "--save", "", "--dir", self.directory],
            stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self.answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise RuntimeError(f"{program} does not start")
            time.sleep(0.005)

    def answers(self):
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self.path)
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)


class OnEachStore:
    def setUp(self):
        self.client = opened(agx_open, self.url.encode(), None)
        self.session = opened(agx_session_open, self.client, 1, 2, self.id().encode())

    def tearDown(self):
        agx_session_close(self.session)
        agx_close(self.client)

    def replay(self, listener, timeout_ms=20000):
        """Types and bodies up to the first other outcome, which comes last."""
        seen = []
        while True:
            event = handle()
            told = agx_listen_next(listener, timeout_ms, ctypes.byref(event))
            if told != AGX_OK:
                self.assertIsNone(event.value)
                return seen + [told]
            seen.append((agx_event_type(event, None).decode(), agx_event_body(event, None).decode()))
            agx_event_free(event)

    def test_replay(self):
        self.assertEqual(agx_start(self.session, None), AGX_OK)
        identifier = ctypes.create_string_buffer(ID_SIZE)
        for n in range(100):
            body = f'{{"n": {n}, "text": "\u00fc\U0001f600"}}'.encode()
            self.assertEqual(agx_add(self.session, b"event", b"python", body, identifier), AGX_OK)
        self.assertEqual(agx_stop(self.session, -1), AGX_OK)
        listener = opened(agx_listen, self.session, None)
        seen = self.replay(listener)
        self.assertEqual(seen[0][0], "begin")
        self.assertEqual(seen[1:-1],
                         [("event", f'{{"n": {n}, "text": "\u00fc\U0001f600"}}') for n in range(100)])
        self.assertEqual(seen[-1], AGX_ENDED)
        position = ctypes.create_string_buffer(ID_SIZE)
        self.assertEqual(agx_listener_position(listener, position), AGX_OK)
        self.assertEqual(position.value, identifier.value)
        agx_listener_close(listener)

    def test_follow(self):
        self.assertEqual(agx_start(self.session, None), AGX_OK)
        listener = opened(agx_listen, self.session, None)
        seen = []
        follower = threading.Thread(target=lambda: seen.extend(self.replay(listener)))
        follower.start()
        for n in range(20):
            self.assertEqual(agx_add(self.session, str(n).encode(), b"python", None, None), AGX_OK)
        self.assertEqual(agx_stop(self.session, -1), AGX_OK)
        follower.join()
        self.assertEqual([name for name, _ in seen[1:-1]], [str(n) for n in range(20)])
        self.assertEqual(seen[-1], AGX_ENDED)
        agx_listener_close(listener)

    def test_cancel(self):
        self.assertEqual(agx_start(self.session, None), AGX_OK)
        was_live = ctypes.c_int(-1)
        self.assertEqual(agx_cancel(self.session, ctypes.byref(was_live)), AGX_OK)
        self.assertEqual(was_live.value, 1)
        self.assertEqual(agx_wait_canceled(self.session, 20000), AGX_OK)
        self.assertEqual(agx_is_canceled(self.session), 1)

    def test_json(self):
        self.assertEqual(agx_start(self.session, None), AGX_OK)
        listener = opened(agx_listen, self.session, None)
        event = opened(agx_listen_next, listener, 20000)
        json = text()
        length = ctypes.c_size_t()
        self.assertEqual(agx_event_json(event, 1, ctypes.byref(json), ctypes.byref(length)), AGX_OK)
        self.assertTrue(json.value.startswith(b'{"type":"begin","origin":"opale","body":{"session_id": '))
        self.assertEqual(len(json.value), length.value)
        # Neither form.
        for form in (2, -1, 7):
            self.assertEqual(agx_event_json(event, form, ctypes.byref(json), ctypes.byref(length)),
                             AGX_EINVAL)
            self.assertIsNone(json.value)
            self.assertEqual(length.value, 0)
        self.assertGreater(agx_event_time(event), 1500000000000)
        agx_listener_close(listener)
        agx_event_free(event)

    def test_closed(self):
        agx_session_close(self.session)
        self.assertEqual(agx_add(self.session, b"t", b"o", None, None), AGX_ECLOSED)
        self.assertEqual(agx_status_string(AGX_ECLOSED), b"AGX_ECLOSED")


class InMemory(OnEachStore, unittest.TestCase):
    url = "memory:ctypes"


class OnRedis(OnEachStore, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.url = "unix://" + cls.server.path

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()


class Library(unittest.TestCase):
    def test_version(self):
        major, rest = divmod(agx_version(), 1000000)
        minor, patch = divmod(rest, 1000)
        self.assertTrue(agx_version_string().startswith(f"{major}.{minor}.{patch} ".encode()))

    def test_errors(self):
        client = handle(1)
        self.assertEqual(agx_open(b"nonsense", None, ctypes.byref(client)), AGX_EINVAL)
        self.assertIsNone(client.value)
        self.assertNotEqual(agx_last_error(), b"")


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
