# ctest-timeout: 30
"""Each language's suite has every case of behaviour.txt, by its name, and no other."""

import os
import pathlib
import re
import sys

SOURCE = pathlib.Path(os.environ["AGX_SOURCE_DIR"])

# Where a suite is (several files, with a *), and what a case's name stands in.
SUITES = {
    "C": ("tests/capi_behaviour*_test.cpp", r"TEST_P\(CapiBehaviour, (\w+)\)"),
    "Go": ("bindings/go/behaviour*_test.go", r'^\t"(\w+)": +\w+,$'),
    "Java": ("bindings/java/tests/io/libagx/test/Behaviour.java", r"@Test\s+(?:public )?void (\w+)\("),
    "C#": ("bindings/csharp/tests/BehaviourTests.cs", r"public (?:async )?Task ([a-z_]+)\(string store\)"),
    "C# on Mono": ("bindings/csharp/tests/SyncCases.cs", r"public static void ([a-z_]+)\(string url\)"),
}


def main():
    lines = (SOURCE / "tests/behaviour.txt").read_text().splitlines()
    cases = [line.split(":")[0] for line in lines if line and not line.startswith("#")]
    assert len(cases) == len(set(cases)) and len(cases) > 20, cases
    wrong = []
    for language, (path, pattern) in SUITES.items():
        text = "".join(file.read_text() for file in SOURCE.glob(path))
        found = re.findall(pattern, text, re.MULTILINE)
        for name in sorted(set(cases) ^ set(found)):
            wrong.append(f"{language}: {name} is {'missing' if name in cases else 'not in the list'}")
    if wrong:
        sys.exit("\n".join(wrong))


main()
