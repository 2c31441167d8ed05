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


def compile_share(stage, directory, skip, first, step):
    """Compile every step-th file below the directory as if the stage were not there: tracebacks name the path of a module, which is in
    the compiled file.

    skip is an expression for what follows the directory in the path of a file.
    """
    skip = re.compile(re.escape(directory + os.sep) + skip)
    sources = []
    for parent, directories, files in os.walk(directory):
        directories.sort()
        sources += [os.path.join(parent, name) for name in sorted(files) if name.endswith(".py")]
    for source in sources[first::step]:
        if sys.version_info < (3, 9):
            final = {"ddir": "/" + os.path.relpath(os.path.dirname(source), stage)}
        else:
            final = {"stripdir": stage, "prependdir": "/"}
        compileall.compile_file(source, quiet=1, rx=skip, **final)


def run(*args):
    return subprocess.Popen([sys.executable, "-I", "-B", "-W", "ignore", os.path.abspath(__file__), *args])


def wait(what, process):
    if process.wait():
        sys.exit(f"{what} ended with {process.returncode}")


def compile_below(stage, directory, jobs, skip):
    """Compile with so many processes. Those of compileall talk through sockets, whose names cannot be as long as the stage's."""
    for process in [run("compile", stage, directory, skip, str(first), str(jobs)) for first in range(jobs)]:
        wait("compiling", process)


def main():
    executable, stage, jobs = sys.argv[1:]
    jobs = int(jobs[len("-j"):])
    lib = os.path.dirname(os.__file__)
    pip = run("pip", executable)
    compile_below(stage, lib, jobs, "(site-packages/|config-|.*(bad_coding|badsyntax|lib2to3/tests/data))")
    wait("pip", pip)
    compile_below(stage, os.path.join(lib, "site-packages"), jobs, ".*badsyntax")


if __name__ == "__main__":
    if sys.argv[1] == "pip":
        install_pip(sys.argv[2])
    elif sys.argv[1] == "compile":
        compile_share(*sys.argv[2:5], first=int(sys.argv[5]), step=int(sys.argv[6]))
    else:
        main()
