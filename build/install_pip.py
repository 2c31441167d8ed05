"""Install the pip that CPython bundles, with the staged interpreter that runs this, for the place where it will live.

ensurepip itself cannot do that: it writes the path of the interpreter that runs it into the scripts, or guesses (some pips take
"python" without a version when the final one is not there yet). So the same wheels are installed here, by the same pip, with
sys.executable being what it will be. The one argument is that path.
"""

import ensurepip
import os
import pathlib
import runpy
import sys

(executable,) = sys.argv[1:]
bundled = pathlib.Path(ensurepip.__file__).parent / "_bundled"
wheels = sorted(bundled.glob("*.whl"))
if not wheels:
    sys.exit(f"there is no wheel in {bundled}")

os.environ["ENSUREPIP_OPTIONS"] = "altinstall"  # pip3.13, and neither pip3 nor pip
os.environ["PIP_CONFIG_FILE"] = os.devnull
sys.path[:0] = map(str, wheels)
sys.executable = executable
sys.argv = ["pip", "install", "--no-index", "--no-cache-dir", "--no-compile", "--disable-pip-version-check", f"--find-links={bundled}"]
sys.argv += [wheel.name.partition("-")[0] for wheel in wheels]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
