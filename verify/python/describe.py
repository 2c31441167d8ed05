# Prints, as one JSON document, facts about the interpreter that runs it.
#
# It judges nothing: what a fact means is decided by the Go program that sends
# this text.  It runs on CPython 3.8 and every later one, from the command line
# (-I -B -c), with one argument: {"modules": [name, ...], "probes": [name, ...]}.

import json
import os
import sys

# Whatever an import writes to standard output must not spoil the document.
answer = os.fdopen(os.dup(1), "w", encoding="ascii")
os.dup2(2, 1)

import importlib
import importlib.metadata
import importlib.util
import platform
import sysconfig


def attempt(function):
    """What function() returns, as a dictionary, or why it failed."""
    try:
        return function()
    except Exception as e:
        return {"error": explain(e)}


def explain(e):
    return f"{type(e).__name__}: {e}" if str(e) else type(e).__name__


def version():
    v = sys.version_info
    short = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(v.releaselevel)
    tail = f"{short}{v.serial}" if short else ""
    return f"{v.major}.{v.minor}.{v.micro}{tail}"


def build_time_prefix():
    # sysconfig puts today's prefix over the one that configure was given, so
    # the generated module has to be asked itself.
    name = sysconfig._get_sysconfigdata_name()
    return importlib.import_module(name).build_time_vars["prefix"]


def default_scheme():
    try:
        return sysconfig.get_default_scheme()
    except AttributeError:  # before 3.10
        return sysconfig._get_default_scheme()


def schemes():
    wanted = ("stdlib", "purelib", "platlib", "scripts")
    return {
        scheme: {name: sysconfig.get_path(name, scheme) for name in wanted}
        for scheme in sysconfig.get_scheme_names()
        # Those of other systems, and those below the home of who asks.
        if not scheme.startswith("nt") and not scheme.endswith("user")
    }


def pip_version():
    if importlib.util.find_spec("pip") is None:
        return ""
    try:
        return importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def import_error(name):
    try:
        importlib.import_module(name)
    except Exception as e:
        return explain(e)
    return ""


def libraries():
    """Files of the shared libraries in this process, or None: not known."""
    try:
        maps = open("/proc/self/maps", encoding=sys.getfilesystemencoding(),
                    errors="surrogateescape")
    except OSError:
        return None
    found = set()
    with maps:
        for line in maps:
            fields = line.rstrip("\n").split(None, 5)
            if len(fields) < 6 or "x" not in fields[1]:
                continue
            if ".so" in os.path.basename(fields[5]):
                found.add(fields[5])
    return sorted(found)


def probe_ssl():
    import ssl

    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    # A directory of certificates is read when one is needed, not before.
    try:
        files = len(os.listdir(paths.capath or paths.openssl_capath))
    except OSError:
        files = 0
    return {
        "version": ssl.OPENSSL_VERSION,
        "loaded": context.cert_store_stats()["x509_ca"],
        "files": files,
        "cafile": paths.cafile or paths.openssl_cafile,
        "capath": paths.capath or paths.openssl_capath,
    }


def probe_sqlite():
    import sqlite3

    db = sqlite3.connect(":memory:")

    def has(statement):
        try:
            db.execute(statement).fetchall()
        except sqlite3.Error:
            return False
        return True

    try:
        db.execute("create table t (n integer)")
        db.executemany("insert into t values (?)", [(n,) for n in range(1, 11)])
        return {
            "version": sqlite3.sqlite_version,
            "sum": db.execute("select sum(n) from t").fetchone()[0],
            "json": has("select json('[1]')"),
            "fts5": has("create virtual table f using fts5(x)"),
        }
    finally:
        db.close()


def probe_hashlib():
    import hashlib

    failed = {}
    for name in sorted(hashlib.algorithms_guaranteed):
        try:
            hashlib.new(name, b"abc", usedforsecurity=False)
        except Exception as e:
            failed[name] = explain(e)
    return {
        "algorithms": len(hashlib.algorithms_guaranteed),
        "failed": failed,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }


def probe_ctypes():
    import ctypes

    # From Python through C to Python: a closure, which needs memory that may
    # be executed, and a call of it.
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: n + 1)
    return {"value": callback(41)}


def round_trip(module):
    def probe():
        codec = importlib.import_module(module)
        text = b"pybuild " * 4096
        packed = codec.compress(text)
        return {"same": codec.decompress(packed) == text,
                "smaller": len(packed) < len(text)}
    return probe


def probe_decimal():
    import decimal
    import _decimal

    return {"version": _decimal.__libmpdec_version__,
            "accelerated": decimal.Decimal is _decimal.Decimal}


PROBES = {
    "ssl": probe_ssl,
    "sqlite": probe_sqlite,
    "hashlib": probe_hashlib,
    "ctypes": probe_ctypes,
    "zlib": round_trip("zlib"),
    "bz2": round_trip("bz2"),
    "lzma": round_trip("lzma"),
    "zstd": round_trip("compression.zstd"),
    "decimal": probe_decimal,
}

question = json.loads(sys.argv[1])
document = {
    "version": version(),
    "executable": sys.executable,
    "prefix": sys.prefix,
    "exec_prefix": sys.exec_prefix,
    "base_prefix": sys.base_prefix,
    "build_time_prefix": build_time_prefix(),
    "abiflags": sys.abiflags,
    "compiler": platform.python_compiler(),
    "directory": os.getcwd(),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "debug": bool(sysconfig.get_config_var("Py_DEBUG")),
    "shared": bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
    "default_scheme": default_scheme(),
    "schemes": schemes(),
    "pip": pip_version(),
    "modules": {name: import_error(name) for name in question["modules"]},
    "probes": {name: attempt(PROBES[name]) for name in question["probes"]},
    "libraries": libraries(),  # last: everything has been loaded by now
}
json.dump(document, answer)
answer.flush()
