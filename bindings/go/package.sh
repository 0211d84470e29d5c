#!/usr/bin/env bash
# Packs the module as a directory that serves as a Go module proxy: package.sh DIRECTORY
# GOPROXY=file://DIRECTORY then finds github.com/libagx/libagx/bindings/go.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 -B - "$here" "${1:?usage: package.sh DIRECTORY}" <<'PYTHON'
import json
import pathlib
import re
import sys
import zipfile

here, out = map(pathlib.Path, sys.argv[1:])
header = (here.parent.parent / "include/agx.h").read_text()
parts = [re.search(rf"define AGX_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH")]
version = "v" + ".".join(parts)
mod = (here / "go.mod").read_text()
module = re.search(r"^module (\S+)", mod, re.M)[1]

directory = out / module / "@v"
directory.mkdir(parents=True, exist_ok=True)
(directory / "list").write_text(version + "\n")
(directory / f"{version}.info").write_text(json.dumps({"Version": version}))
(directory / f"{version}.mod").write_text(mod)
with zipfile.ZipFile(directory / f"{version}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
    files = {path.relative_to(here).as_posix(): path for path in here.rglob("*") if path.is_file()}
    files["LICENSE"] = here.parent.parent / "LICENSE"
    for name in sorted(files):
        # A fixed time: the same files are the same package.
        entry = zipfile.ZipInfo(f"{module}@{version}/{name}", (1980, 1, 1, 0, 0, 0))
        packed.writestr(entry, files[name].read_bytes(), zipfile.ZIP_DEFLATED)
print(directory / f"{version}.zip")
PYTHON
