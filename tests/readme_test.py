#!/usr/bin/env python3
# What the documents show is what there is: programs, commands, what they print, and links.
# ctest-labels: redis dlopen
# ctest-timeout: 180
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("AGX_SOURCE_DIR", pathlib.Path(__file__).parent.parent))
BUILD = pathlib.Path(os.environ.get("AGX_BUILD_DIR", SOURCE / "build/release"))
AGX = pathlib.Path(os.environ.get("AGX", BUILD / "tools/agx"))
LIBRARY = pathlib.Path(os.environ.get("AGX_LIBRARY", BUILD / "src/libagx.so"))
EXAMPLES = pathlib.Path(os.environ.get("AGX_EXAMPLES", BUILD / "examples"))
REDIS_SERVER = os.environ.get("AGX_REDIS_SERVER", "redis-server")

# Lists that come in no order, and lines of threads that nothing orders.
UNORDERED = {"query", "cancel"}

DOCUMENTS = sorted(
    list(SOURCE.glob("*.md")) + list(SOURCE.glob("docs/*.md")) +
    [SOURCE / "examples/README.md", SOURCE / "tests/README.md"])


def section(document, title):
    """What stands between the heading `title` and the next of its level."""
    text = (SOURCE / document).read_text()
    found = re.search(r"^(#+) " + re.escape(title) + r"\n(.*?)(?=^\1 |\Z)", text, re.M | re.S)
    assert found, f"{document} has no section {title}"
    return found.group(2)


def blocks(text, language):
    return re.findall(r"^```" + language + r"\n(.*?)^```$", text, re.M | re.S)


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        path = cls.folder.name + "/redis"
        cls.url = "unix://" + path
        cls.server = subprocess.Popen(
            [REDIS_SERVER, "--port", "0", "--unixsocket", path, "--save", "", "--dir",
             cls.folder.name], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while not os.path.exists(path):
            if time.monotonic() > until or cls.server.poll() is not None:
                raise RuntimeError(REDIS_SERVER + " does not start")
            time.sleep(0.02)

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait()
        cls.folder.cleanup()

    def test_first_program_is_the_example(self):
        programs = blocks(section("README.md", "A first program"), "c")
        self.assertEqual(programs, [(SOURCE / "examples/first.c").read_text()])

    def test_what_the_first_program_prints(self):
        printed = blocks(section("README.md", "A first program"), "text")
        self.assertEqual(printed, [self.run_example("first")])

    def run_example(self, name, *arguments):
        done = subprocess.run([EXAMPLES / name, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), name)
        return done.stdout

    def test_examples_print_what_their_page_shows(self):
        for source in sorted((SOURCE / "examples").glob("*.c")):
            shown = blocks(section("examples/README.md", source.name), "text")
            self.assertEqual(len(shown), 1, source.name)
            # Also again, right after it, on the same server.
            for run, arguments in enumerate([(), (self.url,), (self.url,)]):
                with self.subTest(example=source.name, run=run):
                    printed = self.run_example(source.stem, *arguments)
                    if source.stem in UNORDERED:
                        printed = sorted(printed.splitlines())
                        self.assertEqual(printed, sorted(shown[0].splitlines()))
                    else:
                        self.assertEqual(printed, shown[0])

    def shell(self, commands):
        environment = dict(os.environ, AGX_URL=self.url,
                           PATH=f"{AGX.parent}:{os.environ['PATH']}")
        return subprocess.run(["bash", "-euo", "pipefail", "-c", commands], env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60)

    def test_commands_of_the_command_line_run(self):
        commands = blocks(section("README.md", "The command line"), "sh")
        self.assertEqual(len(commands), 1)
        done = self.shell(commands[0])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn('"body":{"msg":"hello"}', done.stdout)
        self.assertIn("live\n1/42/try\n", done.stdout)

    def test_transcripts_of_the_protocol(self):
        """A console block: lines that begin with `$ ` are run, the others are what they print."""
        for block in blocks((SOURCE / "docs/protocol.md").read_text(), "console"):
            for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
                with self.subTest(command=command):
                    command = re.sub(r"^redis-cli ", f"redis-cli -s {self.url[7:]} ", command)
                    done = self.shell(command)
                    self.assertEqual(done.stderr, "")
                    # Ids, tokens and times are different each time.
                    def mask(text):
                        text = re.sub(r"\b\d{13}-\d+\b", "ID", text)
                        text = re.sub(r"agx:[0-9a-f]{32}", "TOKEN", text)
                        return re.sub(r"\(integer\) \d{4,5}", "(integer) MS", text)
                    self.assertEqual(mask(done.stdout).split("\n"), mask(shown).split("\n"))

    def test_conditions_select_what_their_page_says(self):
        row = re.compile(r"^\| `(.*)` \| `(\w\S*) (.*)` \| `(\w\S*) (.*)` \|$", re.M)
        rows = row.findall(section("docs/conditions.md", "Examples"))
        self.assertGreater(len(rows), 10)
        # Packages of other languages have their own README alone.
        for readme in sorted(SOURCE.glob("bindings/*/README.md")):
            own = row.findall(readme.read_text())
            self.assertEqual([one for one in own if one not in rows], [], readme)
        for number, (condition, *events) in enumerate(rows):
            name = f"1/42/conditions-{number}"
            add = "".join(f"agx add {name} --type {shlex.quote(kind)} --body {shlex.quote(body)}\n"
                          for kind, body in zip(events[::2], events[1::2]))
            with self.subTest(condition=condition):
                done = self.shell(add + f"agx history {name} --where {shlex.quote(condition)}")
                self.assertEqual(done.stderr, "")
                selected = [json.loads(line) for line in done.stdout.splitlines()
                            if line.startswith("{")]
                self.assertEqual([(e["type"], e["body"]) for e in selected],
                                 [(events[0], json.loads(events[1]))])

    def test_mistakes_in_conditions(self):
        (shown,) = blocks((SOURCE / "docs/conditions.md").read_text(), "console")
        command, said = re.fullmatch(r"\$ (.*)\n(.*\n)", shown).groups()
        done = self.shell(command)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", said))

    def test_scripts_of_the_protocol_are_those_of_the_library(self):
        library = (SOURCE / "src/store/redis/scripts.h").read_text()
        scripts = re.findall(r'R"\(\n(.*?)\)"', library, re.S)
        shown = blocks((SOURCE / "docs/protocol.md").read_text(), "lua")
        self.assertEqual(sorted(shown), sorted(scripts))

    def test_exit_statuses_are_those_of_the_man_page(self):
        page = (SOURCE / "docs/agx.1").read_text()
        page = page[page.index(".Sh EXIT STATUS"):page.index(".Sh EXAMPLES")]
        documented = re.findall(r"\d+", " ".join(re.findall(r"^\.It (.*)$", page, re.M)))
        rows = re.findall(r"^\| ([\d, ]+) \|", section("README.md", "The command line"), re.M)
        self.assertEqual(re.findall(r"\d+", " ".join(rows)), documented)

    def test_options_are_those_of_the_header(self):
        header = (SOURCE / "include/agx.h").read_text()
        struct = re.search(r"typedef struct agx_options \{(.*?)\} agx_options;", header, re.S)[1]
        struct = re.sub(r"/\*.*?\*/", "", struct, flags=re.S)
        members = set(re.findall(r"(\w+);", struct)) - {"size"}
        table = section("README.md", "URLs and options")
        rows = re.findall(r"^\| [^|]* \| ([^|]*) \| [^|]* \| [^|]* \|$", table, re.M)
        self.assertEqual(set(re.findall(r"`(\w+)`", " ".join(rows))) - {"agx_options"}, members)

    def test_statuses_exist(self):
        header = (SOURCE / "include/agx.h").read_text()
        for document in DOCUMENTS:
            for name in set(re.findall(r"\b(?:AGX_E?[A-Z_]{3,}|agx_[a-z_]{3,})\b",
                                       document.read_text())):
                if name in {"AGX_URL", "AGX_EXAMPLES", "AGX_SOURCE_DIR", "AGX_LIBRARY", "AGX_TLS",
                            "AGX_BUILD_DIR", "AGX_TESTS", "AGX_HAVE_TLS", "AGX_FUZZ_SECONDS",
                            "AGX_WERROR", "AGX_SANITIZE", "AGX_TOOLS", "AGX_BENCH", "AGX_FUZZ",
                            "AGX_PACKAGER", "AGX_TEST_LABELS", "AGX_TEST_PREFIX", "AGX_CURL",
                            "AGX_REDIS_SERVER", "AGX_TEST_SERVERS"}:
                    continue
                with self.subTest(document=document.name, name=name):
                    self.assertRegex(header, r"\b" + name + r"\b")

    def test_python(self):
        (program,) = blocks(section("README.md", "Build and link"), "python")
        # By the name that an installed library has.
        folder = pathlib.Path(self.folder.name) / "lib"
        folder.mkdir()
        (folder / "libagx.so.0").symlink_to(LIBRARY.resolve())
        environment = dict(os.environ, LD_LIBRARY_PATH=str(folder))
        printed = subprocess.run([sys.executable, "-c", program], env=environment, check=True,
                                 stdout=subprocess.PIPE, text=True, timeout=60).stdout
        self.assertRegex(printed, r"^libagx \d+\.\d+\.\d+ \(hiredis .*\)\n$")

    def test_links_lead_somewhere(self):
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
                with self.subTest(document=document.name, target=target):
                    self.assertTrue((document.parent / target).exists())

    def test_reference_pages(self):
        """Doxygen finds everything in agx.h documented, and nothing to warn of."""
        doxygen = shutil.which("doxygen")
        self.assertIsNotNone(doxygen, "doxygen is not installed")
        output = pathlib.Path(self.folder.name) / "reference"
        configuration = (SOURCE / "docs/Doxyfile").read_text()
        configuration += f"\nOUTPUT_DIRECTORY = {output}\n"
        done = subprocess.run([doxygen, "-"], input=configuration, cwd=SOURCE, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue((output / "html/index.html").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
