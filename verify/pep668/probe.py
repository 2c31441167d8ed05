# Says where this Python lives and where its pip would install. It is run without site (-S), so that nothing which packages or users
# have put beside the interpreter runs, and must work with every Python from 2.7 on.
import sys

sys.path = [entry for entry in sys.path if entry]  # not the working directory, whose modules are strangers
import json
import os

# Without site, a virtual environment is not noticed before 3.14.
bin = os.path.dirname(os.path.abspath(sys.executable))
for place in (bin, os.path.dirname(bin)):
    if os.path.isfile(os.path.join(place, "pyvenv.cfg")):
        sys.prefix = sys.exec_prefix = os.path.dirname(bin)
        break

import locale
import site
import sysconfig

scheme = getattr(sysconfig, "get_default_scheme", None) or getattr(sysconfig, "_get_default_scheme", lambda: "")
try:
    locale.setlocale(locale.LC_ALL, "")
    language = locale.getlocale(locale.LC_MESSAGES)[0]
except (locale.Error, ValueError):
    language = None
print(json.dumps({
    "executable": sys.executable,
    "version": sys.version.split()[0],
    "implementation": getattr(getattr(sys, "implementation", None), "name", "cpython"),
    "prefix": sys.prefix,
    "base_prefix": getattr(sys, "base_prefix", sys.prefix),
    "stdlib": sysconfig.get_path("stdlib"),
    "scheme": scheme(),
    "purelib": sysconfig.get_path("purelib"),
    "platlib": sysconfig.get_path("platlib"),
    "scripts": sysconfig.get_path("scripts"),
    "user_site": site.getusersitepackages(),
    "site": site.getsitepackages(),
    "language": language or "",
}))
