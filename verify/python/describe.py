# Prints, as one JSON document, facts about the interpreter that runs it.
#
# It judges nothing: what a fact means is decided by the Go program that sends
# this text.  It runs on CPython 3.8 and every later one, from the command line
# (-I -B -c), in a directory in which it may write, with one argument:
#
#   modules      to import
#   probes       keys of PROBES, to run
#   core         keys of CORE, to run by the probe of that name
#   certificate  file of a certificate for localhost
#   key          file of its key
#   progress     file to which the name of each step is added before it starts
#   seconds      that a step may take
#
# A probe answers with a dictionary:
#
#   values       what came out, as texts; known beforehand to who judges
#   lacks        those that cannot be had on this host, for a reason that is not
#                this Python's
#   detail       for people
#   authorities  whose certificates are trusted, by the probe of ssl

import faulthandler
import json
import os
import sys
import warnings

# That a module is deprecated is no news, and with -W error no failure.
warnings.simplefilter("ignore")

# Whatever an import writes to standard output must not spoil the document.
answer = os.fdopen(os.dup(1), "w", encoding="ascii")
os.dup2(2, 1)

import importlib
import importlib.metadata
import importlib.util
import platform
import sysconfig


def attempt(name):
    """What a probe answers, or why it failed."""
    step("probe " + name)
    try:
        return PROBES[name]()
    except Exception as e:
        return {"error": explain(e)}


def value(function):
    """What function() returns, as a text, or why it failed."""
    try:
        return str(function())
    except Exception as e:
        return explain(e)


def in_c(a, b):
    return "in C" if a is b else "in Python"


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


def step(name):
    """Begins what may crash or never end: who asks must learn its name."""
    os.write(progress, name.encode() + b"\n")
    faulthandler.dump_traceback_later(question["seconds"], exit=True)


def import_error(name):
    step("import " + name)
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


def authorities():
    """Certificates of authorities that a default context trusts."""
    import ssl

    paths = ssl.get_default_verify_paths()
    # A directory of certificates is read when one is needed, not before.
    try:
        files = len(os.listdir(paths.capath or paths.openssl_capath))
    except OSError:
        files = 0
    return {
        "loaded": ssl.create_default_context().cert_store_stats()["x509_ca"],
        "files": files,
        "cafile": paths.cafile or paths.openssl_cafile,
        "capath": paths.capath or paths.openssl_capath,
    }


MESSAGE = b"pybuild"


def handshake(client, server):
    """A conversation without a network: each side reads what the other wrote."""
    import ssl

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)

    def both(*steps):
        waiting = list(steps)
        for _ in range(100):
            for f in waiting[:]:
                try:
                    result = f()
                except ssl.SSLWantReadError:
                    continue
                waiting.remove(f)
                if not waiting:
                    return result
        raise TimeoutError("no end of a handshake in memory")

    both(ours.do_handshake, theirs.do_handshake)
    ours.write(MESSAGE)
    theirs.write(both(lambda: theirs.read(64))[::-1])
    return both(lambda: ours.read(64)), ours.version()


def converse(client, server, listener):
    """The same through sockets of this machine."""
    import socket
    import threading

    failures = []

    def serve():
        try:
            connection, _ = listener.accept()
            connection.settimeout(10)
            with server.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(tls.recv(64)[::-1])
        except Exception as e:
            failures.append("server: " + explain(e))

    with socket.create_connection(listener.getsockname(), 10) as connection:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            with client.wrap_socket(connection, server_hostname="localhost") as tls:
                tls.sendall(MESSAGE)
                return tls.recv(64), tls.version()
        except Exception as e:
            thread.join(10)
            raise RuntimeError("; ".join([explain(e)] + failures))
        finally:
            thread.join(10)


def loopback():
    """A listening socket, or None where a connection to oneself is not had."""
    import socket

    try:
        listener = socket.create_server(("127.0.0.1", 0))
    except OSError:
        return None
    listener.settimeout(10)
    try:
        socket.create_connection(listener.getsockname(), 10).close()
        listener.accept()[0].close()
    except OSError:
        listener.close()
        return None
    return listener


def probe_ssl():
    import ssl

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(question["certificate"], question["key"])
    friend = ssl.create_default_context(cafile=question["certificate"])
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    listener = loopback()
    if listener is None:
        received, protocol = handshake(friend, server)
        way = "in memory, as there is no loopback"
    else:
        with listener:
            received, protocol = converse(friend, server, listener)
        way = "on loopback"
    try:
        handshake(stranger, server)
        unknown = "accepted"
    except ssl.SSLCertVerificationError:
        unknown = "refused"
    return {
        "values": {"text through TLS": received.decode("ascii", "replace"),
                   "unknown certificate": unknown},
        "detail": f"{ssl.OPENSSL_VERSION}, {protocol} {way}",
        "authorities": authorities(),
    }


def probe_sqlite():
    import sqlite3

    def json_query():
        text = '{"a": [1, {"b": 42}]}'
        return db.execute("select json_extract(?, '$.a[1].b')", (text,)).fetchone()[0]

    def full_text():
        db.execute("create virtual table f using fts5(x)")
        db.executemany("insert into f values (?)", [("one snake",), ("two birds",), ("a snake, a bird",)])
        return [row[0] for row in db.execute("select rowid from f where f match 'snake' order by rowid")]

    values, lacks = {}, []
    db = sqlite3.connect(":memory:")
    try:
        db.execute("create table t (n integer)")
        db.executemany("insert into t values (?)", [(n,) for n in range(1, 11)])
        values["sum of 1 to 10"] = str(db.execute("select sum(n) from t").fetchone()[0])
        for name, query in ("JSON", json_query), ("FTS5", full_text):
            try:
                values[name] = str(query())
            except sqlite3.OperationalError as e:
                if not str(e).startswith(("no such function: json", "no such module: fts5")):
                    raise
                lacks.append(name)
    finally:
        db.close()
    return {"values": values, "lacks": lacks, "detail": sqlite3.sqlite_version}


def probe_hashlib():
    import hashlib

    def digest(name):
        # Not for security: a host in FIPS mode may refuse some otherwise.
        options = {"usedforsecurity": False} if sys.version_info >= (3, 9) else {}
        h = hashlib.new(name, b"abc", **options)
        return h.hexdigest() if h.digest_size else h.hexdigest(32)

    algorithms = sorted(hashlib.algorithms_guaranteed)
    return {"values": {name: value(lambda: digest(name)) for name in algorithms},
            "detail": f"{len(algorithms)} algorithms"}


def probe_openssl():
    import _hashlib
    import hashlib
    import hmac

    values, lacks = {}, []
    for name, function in (
        ("hmac", lambda: hmac.new(b"Jefe", b"what do ya want for nothing?", "sha256")
                             .hexdigest()),
        ("pbkdf2", lambda: hashlib.pbkdf2_hmac("sha256", b"passwd", b"salt", 1, 32).hex()),
        ("scrypt", lambda: hashlib.scrypt(b"", salt=b"", n=16, r=1, p=1, dklen=32).hex()),
    ):
        values[name] = value(function)
    # Keys shorter than FIPS allows, and scrypt at all, are refused there.  An
    # OpenSSL before 1.1 has no scrypt.
    if getattr(_hashlib, "get_fips_mode", int)() or not hasattr(_hashlib, "scrypt"):
        lacks = [name for name in values if not values[name].isalnum()]
    return {"values": {k: v for k, v in values.items() if k not in lacks}, "lacks": lacks}


def probe_ctypes():
    import ctypes

    # From Python through C to Python: a closure, which needs memory that may
    # be executed, and a call of it.
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: n + 1)
    strlen = ctypes.CDLL(None).strlen
    strlen.argtypes, strlen.restype = [ctypes.c_char_p], ctypes.c_size_t
    return {"values": {"result of a callback": str(callback(41)),
                       "strlen of pybuild": str(strlen(b"pybuild"))}}


def round_trip(module):
    def probe():
        codec = importlib.import_module(module)
        text = MESSAGE * 4096
        packed = codec.compress(text)
        return {"values": {
            "text after " + module: "the same" if codec.decompress(packed) == text else "another",
            "size after " + module: "smaller" if len(packed) < len(text) else "not smaller",
        }}
    return probe


def probe_decimal():
    import decimal
    import _decimal

    return {
        "values": {"1/7": str(decimal.Context(prec=50).divide(1, 7)),
                   "decimal.Decimal": in_c(decimal.Decimal, _decimal.Decimal)},
        "detail": "libmpdec " + _decimal.__libmpdec_version__,
    }


def probe_curses():
    import curses

    for name in "xterm", "linux", "vt100", "ansi", "dumb":
        try:
            curses.setupterm(name, 1)
        except curses.error:
            continue
        # Each of them continues at the right edge on the next line.
        return {"values": {"terminfo": f"am={curses.tigetflag('am')}"},
                "detail": "terminal " + name}
    return {"lacks": ["terminfo"]}


def probe_readline():
    import readline

    readline.parse_and_bind("tab: complete")
    readline.add_history("pybuild")
    editline = "libedit" in (readline.__doc__ or "")
    last = readline.get_history_item(readline.get_current_history_length())
    return {"values": {"last line of history": str(last)},
            "detail": "libedit" if editline else "readline"}


def database(module):
    def probe():
        dbm = importlib.import_module(module)
        db = dbm.open("probe" + module, "n", 0o600)
        db[b"key"] = MESSAGE
        db.close()
        db = dbm.open("probe" + module, "r")
        try:
            found = db[b"key"].decode("ascii", "replace")
        finally:
            db.close()
        return {"values": {"text in a database of " + module: found},
                "detail": getattr(dbm, "library", "GNU gdbm")}
    return probe


def probe_uuid():
    import uuid
    import _uuid

    first, second = [uuid.UUID(bytes=_uuid.generate_time_safe()[0]) for _ in range(2)]
    return {"values": {"version": str(first.version),
                       "two of them": "the same" if first == second else "differ"}}


def probe_tkinter():
    import tkinter

    tcl = tkinter.Tcl()  # without Tk: there may be no display
    return {"values": {"expr {6 * 7}": tcl.eval("expr {6 * 7}")},
            "detail": f"Tcl {tcl.eval('info patchlevel')}, Tk {tkinter.TkVersion}"}


def probe_crypt():
    import crypt

    stored = crypt.crypt("pybuild", crypt.mksalt(crypt.METHOD_SHA512))

    def verdict(word):
        return "good" if crypt.crypt(word, stored) == stored else "wrong"

    return {"values": {"method": stored[:3], "same word": verdict("pybuild"),
                       "other word": verdict("other")}}


def probe_zoneinfo():
    import datetime
    import io
    import zoneinfo
    import _zoneinfo

    def offsets(zone):
        months = [datetime.datetime(2024, month, 1, tzinfo=zone) for month in (1, 7)]
        return " ".join(f"{d.utcoffset().total_seconds():.0f}" for d in months)

    # The shortest file there can be: one kind of time, which always applies.
    data = (b"TZif" + bytes(16) + b"".join(n.to_bytes(4, "big") for n in (0, 0, 0, 0, 1, 4))
            + (5400).to_bytes(4, "big") + b"\0\0PYB\0")
    answer = {"values": {
        "zoneinfo.ZoneInfo": in_c(zoneinfo.ZoneInfo, _zoneinfo.ZoneInfo),
        "offsets of a zone": offsets(zoneinfo.ZoneInfo.from_file(io.BytesIO(data), key="Probe")),
    }}
    try:
        answer["values"]["tzdata"] = offsets(zoneinfo.ZoneInfo("America/New_York"))
    except zoneinfo.ZoneInfoNotFoundError:
        answer["lacks"] = ["tzdata"]
    return answer


def core_json():
    import _json

    c = in_c(json.scanner.c_make_scanner, _json.make_scanner)
    return json.dumps(json.loads('{"a": [1, 2.5, null]}')) + ", " + c


def core_pickle():
    import pickle
    import _pickle

    c = in_c(pickle.Pickler, _pickle.Pickler)
    return f"{pickle.loads(pickle.dumps({'a': (1, 2)}))}, {c}"


def core_datetime():
    import datetime
    import _datetime

    day = datetime.date(2024, 2, 28) + datetime.timedelta(days=2)
    return f"{day}, {in_c(datetime.date, _datetime.date)}"


def core_struct():
    import struct

    return struct.pack("<hd", 1, 0.5).hex()


def core_math():
    import math

    return f"{math.gcd(12, 18)} {math.sqrt(2):.15f}"


def core_unicodedata():
    import unicodedata

    return unicodedata.name(unicodedata.normalize("NFC", "e\u0301"))


def core_pyexpat():
    import pyexpat

    names = []
    parser = pyexpat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: names.append(f"{name}{attributes}")
    parser.Parse('<a><b x="1"/></a>', True)
    return " ".join(names)


def core_socket():
    import socket

    here, there = socket.socketpair()
    with here, there:
        here.sendall(MESSAGE)
        return there.recv(64).decode()


def core_subprocess():
    import subprocess

    return subprocess.run(["/bin/sh", "-c", "echo $((6 * 7))"], stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, timeout=30).stdout.decode().strip()


def core_asyncio():
    import asyncio

    async def double(n):
        await asyncio.sleep(0)
        return 2 * n

    return asyncio.run(double(21))


def core_multiprocessing():
    import multiprocessing

    # Whoever may not use shared memory, as in a sandbox, has no locks; and who
    # could not while Python was built has a Python without them.
    try:
        lock = multiprocessing.get_context("fork").Lock()
    except (ImportError, OSError):
        if os.access("/dev/shm", os.W_OK):
            raise
        return None
    with lock:
        return "locked again" if lock.acquire(False) else "locked"


CORE = {
    "asyncio": core_asyncio,
    "datetime": core_datetime,
    "json": core_json,
    "math": core_math,
    "multiprocessing": core_multiprocessing,
    "pickle": core_pickle,
    "pyexpat": core_pyexpat,
    "socket": core_socket,
    "struct": core_struct,
    "subprocess": core_subprocess,
    "unicodedata": core_unicodedata,
}


def probe_core():
    answer = {"values": {}, "lacks": []}
    for name in question["core"]:
        step("probe " + name)
        found = value(CORE[name])
        if found == "None":  # not here
            answer["lacks"].append(name)
        else:
            answer["values"][name] = found
    return answer


PROBES = {
    "ssl": probe_ssl,
    "sqlite": probe_sqlite,
    "hashlib": probe_hashlib,
    "openssl": probe_openssl,
    "ctypes": probe_ctypes,
    "zlib": round_trip("zlib"),
    "bz2": round_trip("bz2"),
    "lzma": round_trip("lzma"),
    "zstd": round_trip("compression.zstd"),
    "decimal": probe_decimal,
    "curses": probe_curses,
    "readline": probe_readline,
    "tkinter": probe_tkinter,
    "gdbm": database("_gdbm"),
    "ndbm": database("_dbm"),
    "uuid": probe_uuid,
    "zoneinfo": probe_zoneinfo,
    "crypt": probe_crypt,
    "core": probe_core,
}

question = json.loads(sys.argv[1])
progress = os.open(question["progress"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
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
    "probes": {name: attempt(name) for name in question["probes"]},
    "libraries": libraries(),  # last: everything has been loaded by now
}
step("answer")
json.dump(document, answer)
answer.flush()
