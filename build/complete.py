"""Complete a staged installation: byte-compile it, and install the pip that CPython bundles, side by side.

    complete.py EXECUTABLE STAGE -jJOBS

Run by the staged interpreter. EXECUTABLE is the path that it will have, STAGE the directory that stands for the root of the file
system until then, JOBS how many processes may compile.

make compiles everything for each of three levels of optimisation; here it is the one that a plain "python" reads, once. As with
make, a file that does not compile is no error: some of CPython's tests are such files.

ensurepip cannot install for another place: it writes the path of the interpreter that runs it into the scripts, or guesses (some
pips take "python" without a version when the final one is not there yet). So the same wheels are installed here, by the same pip,
with sys.executable being what it will be.
"""

import compileall
import os
import re
import runpy
import subprocess
import sys


def install_pip(executable):
    import ensurepip
    import pathlib

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


def compile_below(directory, stage, jobs, skip):
    """Compile as if the stage were not there: tracebacks name the path of a module, which is in the compiled file.

    skip is an expression for what follows the directory in the path of a file.
    """
    if sys.version_info < (3, 9):
        final = {"ddir": "/" + os.path.relpath(directory, stage)}
    else:
        final = {"stripdir": stage, "prependdir": "/"}
    compileall.compile_dir(directory, quiet=1, workers=jobs, rx=re.compile(re.escape(directory + os.sep) + skip), **final)


def main():
    executable, stage, jobs = sys.argv[1:]
    jobs = int(jobs[len("-j"):])
    lib = os.path.dirname(os.__file__)
    pip = subprocess.Popen([sys.executable, "-I", "-B", os.path.abspath(__file__), executable])
    compile_below(lib, stage, jobs, "(site-packages/|config-|.*(bad_coding|badsyntax|lib2to3/tests/data))")
    if pip.wait():
        sys.exit(f"pip ended with {pip.returncode}")
    compile_below(os.path.join(lib, "site-packages"), stage, jobs, ".*badsyntax")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        install_pip(sys.argv[1])
    else:
        main()
