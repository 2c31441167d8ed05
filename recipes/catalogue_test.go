package recipes

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// smallParts, smallDebian and smallProfiles are the least that makes a catalogue, with every key in use.
const (
	smallParts = `
[[tool]]
name = "make"
summary = "make"
commands = ["make", "gmake"]

[[tool]]
name = "certificates"
summary = "certificates"
files = ["/etc/ssl/cert.pem"]

[[part]]
name = "ssl"
tier = "required"
summary = "TLS"
extensions = ["_ssl"]
modules = ["ssl", "_ssl"]

[[part.probe]]
headers = ["openssl/ssl.h"]
symbol = "SSL_CTX_new"
libs = ["ssl", "crypto"]
pkg_config = ["openssl"]
include_dirs = ["/usr/include/tls"]
configure_args = ["--with-it"]
minimum = [
  { until = "3.9", test = "V >= 0x10002000L", says = "OpenSSL 1.0.2" },
  { since = "3.10", test = "V >= 0x10101000L", says = "OpenSSL 1.1.1" },
]

[[part.probe]]
since = "3.12"
headers = ["tls.h"]
symbol = "tls_new"
libs = ["tls"]

[[part]]
name = "nis"
tier = "wanted"
summary = "NIS"
until = "3.12"
extensions = ["nis"]
modules = ["nis"]

[[part.probe]]
headers = ["rpc/rpc.h"]
symbol = "yp_match"

[[part]]
name = "core"
tier = "core"
summary = "the rest"
extensions = ["math", { name = "_sha2", since = "3.12" }, { name = "_sha256", until = "3.11" }, { name = "_zstd", until = "3.13" }]

[[part]]
name = "zstd"
tier = "required"
summary = "Zstandard"
since = "3.14"
extensions = ["_zstd"]
modules = ["compression.zstd", { name = "compression.zstd.more", since = "3.15" }]

[[part]]
name = "tests"
tier = "option"
summary = "test suite"
`
	smallDebian = `
name = "debian"
ids = ["debian", "ubuntu"]
refresh = ["apt-get", "update"]
install = ["apt-get", "install", "--yes"]
environment = ["DEBIAN_FRONTEND=noninteractive"]
busy = 'Could not get lock'
pool = "pool/main/p/python{series}/python{series}_{version}.orig.tar.{compression}"

[packages]
make = ["make"]
certificates = ["ca-certificates"]
ssl = ["libssl-dev"]
nis = []

[[variant]]
ids = ["debian"]
since = "11"
packages = { nis = ["libnsl-dev"] }

[[variant]]
ids = ["debian"]
until = "10"
absent = ["ssl"]
says = "too old"

[[source]]
at = "control of Debian's python3.13"
packages = ["make", "ca-certificates", "libssl-dev", "libnsl-dev"]
`
	smallAlpine = `
name = "alpine"
ids = ["alpine"]
install = ["apk", "add"]

[packages]
make = ["make"]
certificates = ["ca-certificates"]
ssl = ["openssl-dev"]
nis = ["libnsl-dev"]

[[source]]
at = "APKBUILD"
packages = ["make", "ca-certificates", "openssl-dev", "libnsl-dev"]
`
	smallQuirks = `
[[quirk]]
name = "stack"
with = ["musl"]
cflags = ["-DSTACK=1"]
says = "a larger stack"
source = "made up"

[[quirk]]
name = "training"
cpython = ">= 3.10, < 3.15"
with = ["musl", "gcc >= 14, < 15", "clang < 12"]
profile = ["release"]
without = ["--enable-optimizations"]
ldflags = ["-Wl,-s"]
configure_args = ["--with-it"]
says = "no training"
source = "made up"

[[quirk]]
name = "too-new"
cpython = ">= 3.15"
with = ["glibc < 2.17"]
refuse = true
says = "needs a newer C library"
source = "made up"
`
	smallFailures = `
[[failure]]
name = "out-of-memory"
pattern = '^cc1?: Killed'
summary = "memory ran out"
remedy = "--jobs 1"
source = "made"
`
	smallProfiles = `
[[profile]]
name = "release"
summary = "optimised"
configure_args = ["--enable-optimizations"]
cflags = ["-g0"]
disk = 700
memory = 500
seconds = { unpack = 2.5 }
`
	smallKeys     = "openpgp = [\"A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0\"]\n"
	smallIdentity = "sigstore = { identity = \"a@example.org\", issuer = \"https://accounts.example\" }\n"
)

// smallSeries writes the file of a series with these releases.
func smallSeries(name string, versions ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "series = %q\nstatus = \"bugfix\"\nend_of_life = \"2029-10-01\"\nrelease_manager = \"A Person\"\n", name)
	b.WriteString(smallKeys + smallIdentity)
	b.WriteString("configure_args = [\"--with-it=no\"]\n")
	b.WriteString("no_tests = { configure_args = [\"--no-tests\"], extensions = [\"_testcapi\"], directories = [\"Lib/test\"] }\n")
	for _, v := range versions {
		fmt.Fprintf(&b, "\n[[release]]\nversion = %q\ndate = \"2025-06-11\"\n", v)
		fmt.Fprintf(&b, "tar_xz = { sha256 = %q, size = 1000, proof = \"signature-verified\", %s }\n", digestOf(v+".tar.xz"), smallProofs(v))
		fmt.Fprintf(&b, "tgz = { sha256 = %q, proof = \"agreed\" }\n", digestOf(v+".tgz"))
	}
	return b.String()
}

// smallProofs are both kinds of proof; the place in the log is made from the version.
func smallProofs(version string) string {
	return fmt.Sprintf("sigstore = { log_index = %s, time = \"2025-06-11T17:46:23Z\" }, openpgp = { fingerprint = %q, time = \"2025-06-11T17:45:54Z\" }",
		logIndexOf(version), strings.Repeat("A0", 20))
}

func logIndexOf(version string) string {
	index, _ := strconv.ParseInt(digestOf(version)[:8], 16, 64) // cannot fail: eight hexadecimal digits
	return strconv.FormatInt(index, 10)
}

func digestOf(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// smallFiles is a whole catalogue in memory.
func smallFiles() map[string]string {
	return map[string]string{
		"parts.toml":            smallParts,
		"profiles.toml":         smallProfiles,
		"quirks.toml":           smallQuirks,
		"failures.toml":         smallFailures,
		"platforms/debian.toml": smallDebian,
		"platforms/alpine.toml": smallAlpine,
		"cpython/3.9.toml":      smallSeries("3.9", "3.9.25", "3.9.0"),
		"cpython/3.10.toml":     smallSeries("3.10", "3.10.1"),
		"cpython/3.11.toml":     smallSeries("3.11", "3.11.17", "3.11.9"),
		"cpython/3.12.toml":     smallSeries("3.12", "3.12.15", "3.12.14", "3.12.0"),
		"cpython/3.13.toml":     smallSeries("3.13", "3.13.18", "3.13.16", "3.13.5", "3.13.0"),
		"cpython/3.14.toml":     smallSeries("3.14", "3.14.10", "3.14.5", "3.14.5rc1", "3.14.0"),
		"cpython/3.15.toml":     smallSeries("3.15", "3.15.2", "3.15.0", "3.15.0rc3", "3.15.0rc2", "3.15.0b1", "3.15.0a10", "3.15.0a9"),
		"cpython/3.16.toml":     smallSeries("3.16", "3.16.0a2", "3.16.0a1"),
	}
}

func fsOf(files map[string]string) fs.FS {
	fsys := make(fstest.MapFS)
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func loadSmall(tb testing.TB) *Catalogue {
	tb.Helper()
	c, err := Load(fsOf(smallFiles()))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestLoadRefuses changes one text of a catalogue that loads: bad makes it fail with exactly that error, good does not.
func TestLoadRefuses(t *testing.T) {
	const (
		s13   = "cpython/3.13.toml"
		parts = "parts.toml"
		deb   = "platforms/debian.toml"
		prof  = "profiles.toml"
		quirk = "quirks.toml"
		fail  = "failures.toml"
	)
	a0, d5 := strings.Repeat("A0", 20), digestOf("3.13.5.tar.xz")
	p18 := smallProofs("3.13.18")
	for _, row := range []struct {
		name, file, old, bad, good, want string
	}{
		{"unknown key", s13, "status =", "state = \"x\"\nstatus =", "# state\nstatus =", `recipe cpython/3.13.toml: unknown key "state"`},
		{"unknown key below", s13, "size = 1000", "sise = 1000", "size = 1", `recipe cpython/3.13.toml: unknown key "release.tar_xz.sise"`},
		{"series", s13, `series = "3.13"`, `series = "3.x"`, `series = "3.13" # x`, `recipe cpython/3.13.toml: "3.x" is not a series`},
		{"series with zero", s13, `series = "3.13"`, `series = "3.013"`, `series = '3.13'`, `recipe cpython/3.13.toml: "3.013" is not a series`},
		{"file name", s13, "3.13", "3.17", "3.13", `recipe cpython/3.13.toml: the file of series 3.17 has another name`},
		{"status", s13, `"bugfix"`, `"fine"`, `"security"`, `recipe cpython/3.13.toml: status "fine" is none of feature, bugfix, security, end-of-life`},
		{"end of life", s13, "2029-10-01", "2029-10", "2029-10-31", `recipe cpython/3.13.toml: end_of_life "2029-10" is not a day like 2025-06-11`},
		{"release manager", s13, "A Person", " ", "B", `recipe cpython/3.13.toml: no release_manager`},
		{"argument", s13, "--with-it=no", "--with it", "--with=it", `recipe cpython/3.13.toml: configure_args: "--with it" is not one word`},
		{"no tests: argument", s13, `"--no-tests"`, `""`, `"--without-tests"`, `recipe cpython/3.13.toml: no_tests: configure_args: "" is not one word`},
		{"no tests: extension", s13, `"_testcapi"`, `"_test.capi"`, `"_testbuffer"`, `recipe cpython/3.13.toml: no_tests: extensions: malformed "_test.capi"`},
		{"no tests: directory escapes", s13, `"Lib/test"`, `"../Lib"`, `"Lib/a/test"`, `recipe cpython/3.13.toml: no_tests: directories: malformed "../Lib"`},
		{"no tests: directory inside escapes", s13, `"Lib/test"`, `"Lib/../.."`, `"Lib"`, `recipe cpython/3.13.toml: no_tests: directories: malformed "Lib/../.."`},
		{"no tests: absolute directory", s13, `"Lib/test"`, `"/usr"`, `"usr"`, `recipe cpython/3.13.toml: no_tests: directories: malformed "/usr"`},
		{"short fingerprint", s13, a0 + `"]`, `A0A0A0A0"]`, a0 + `", "` + strings.Repeat("B1", 20) + `"]`, `recipe cpython/3.13.toml: openpgp: "A0A0A0A0" is not a full fingerprint, 40 upper-case hexadecimal digits`},
		{"identity", s13, "a@example.org", "example", "b@example", `recipe cpython/3.13.toml: sigstore: identity "example" is not an e-mail address`},
		{"issuer", s13, "https://accounts", "http://accounts", "https://account", `recipe cpython/3.13.toml: sigstore: issuer "http://accounts.example" is not an https URL`},
		{"identity quoted", s13, "a@example.org", `a\\\\@example.org`, "a.b@example.org", `recipe cpython/3.13.toml: sigstore: identity "a\\\\@example.org" is not an e-mail address`},
		{"since", s13, "openpgp = ", "sigstore_since = \"3.13\"\nopenpgp = ", "sigstore_since = \"3.13.0\"\nopenpgp = ", `recipe cpython/3.13.toml: toml: line 5 (last key "sigstore_since"): malformed version "3.13": a release has three numbers`},
		{"since of another series", s13, "openpgp = ", "sigstore_since = \"3.12.1\"\nopenpgp = ", "sigstore_since = \"3.13.0\"\nopenpgp = ", `recipe cpython/3.13.toml: sigstore_since, sigstore_also: 3.12.1 is not of series 3.13`},
		{"also of another series", s13, "openpgp = ", "sigstore_since = \"3.13.0\"\nsigstore_also = [\"3.12.1\"]\nopenpgp = ", "sigstore_since = \"3.13.0\"\nsigstore_also = [\"3.13.0a1\"]\nopenpgp = ", `recipe cpython/3.13.toml: sigstore_since, sigstore_also: 3.12.1 is not of series 3.13`},
		{"also without since", s13, "openpgp = ", "sigstore_also = [\"3.13.0\"]\nopenpgp = ", "sigstore_also = []\nopenpgp = ", `recipe cpython/3.13.toml: sigstore_also without sigstore_since`},
		{"also since", s13, "openpgp = ", "sigstore_since = \"3.13.0\"\nsigstore_also = [\"3.13.0\"]\nopenpgp = ", "sigstore_since = \"3.13.0\"\nsigstore_also = [\"3.13.0rc9\"]\nopenpgp = ", `recipe cpython/3.13.toml: sigstore_also: 3.13.0 is not older than 3.13.0`},
		{"no release", "cpython/3.10.toml", smallSeries("3.10", "3.10.1"), smallSeries("3.10"), smallSeries("3.10", "3.10.0"), `recipe cpython/3.10.toml: no release`},
		{"no version", s13, "version = \"3.13.5\"\n", "", "version = '3.13.5'\n", `recipe cpython/3.13.toml: release 0.0.0: no version`},
		{"other series", s13, `"3.13.5"`, `"3.12.5"`, `"3.13.6"`, `recipe cpython/3.13.toml: release 3.12.5: not of series 3.13`},
		{"order", s13, `"3.13.5"`, `"3.13.17"`, `"3.13.15"`, `recipe cpython/3.13.toml: release 3.13.17: not older than 3.13.16 before it`},
		{"twice", s13, `"3.13.5"`, `"3.13.16"`, `"3.13.15"`, `recipe cpython/3.13.toml: release 3.13.16: not older than 3.13.16 before it`},
		{"pre-release order", "cpython/3.15.toml", `"3.15.0a9"`, `"3.15.0a11"`, `"3.15.0a8"`, `recipe cpython/3.15.toml: release 3.15.0a11: not older than 3.15.0a10 before it`},
		{"date", s13, `date = "2025-06-11"`, `date = "11 June"`, `date = ""`, `recipe cpython/3.13.toml: release 3.13.18: date "11 June" is not a day like 2025-06-11`},
		{"digest length", s13, d5, d5[1:], d5, `recipe cpython/3.13.toml: release 3.13.5: tar_xz: sha256 "` + d5[1:] + `" is not 64 lower-case hexadecimal digits`},
		{"digest case", s13, d5, strings.Repeat("A", 64), strings.Repeat("a", 64), `recipe cpython/3.13.toml: release 3.13.5: tar_xz: sha256 "` + strings.Repeat("A", 64) + `" is not 64 lower-case hexadecimal digits`},
		{"digest twice", s13, d5, digestOf("3.12.14.tgz"), digestOf("x"), `recipe cpython/3.13.toml: release 3.13.5: tar_xz: sha256 "` + digestOf("3.12.14.tgz") + `" is there twice`},
		{"size", s13, "1000", "0", "1", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: size 0 is not a number of bytes`},
		{"proof", s13, `"agreed"`, `"hearsay"`, `"single-source"`, `recipe cpython/3.13.toml: release 3.13.18: tgz: proof "hearsay" is none of signature-verified, agreed, single-source`},
		{"proof by nothing", s13, ", " + p18, "", ", " + p18, `recipe cpython/3.13.toml: release 3.13.18: tar_xz: proof "signature-verified", but by no signature`},
		{"proof denied", s13, "signature-verified", "agreed", "signature-verified", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: proof "agreed", but there is a signature`},
		{"proof before the first bundle", s13, "openpgp = ", "sigstore_since = \"3.13.1\"\nopenpgp = ", "sigstore_since = \"3.13.1\"\nsigstore_also = [\"3.13.0\"]\nopenpgp = ", `recipe cpython/3.13.toml: release 3.13.0: tar_xz: sigstore: the release has no bundle`},
		{"log index", s13, "log_index = ", "log_index = -", "log_index = 1", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: sigstore: log_index -` + logIndexOf("3.13.18") + ` is not a place in the log`},
		{"no log index", s13, "log_index = " + logIndexOf("3.13.18") + ",", "", "log_index = 77,", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: sigstore: log_index 0 is not a place in the log`},
		{"log index twice", s13, logIndexOf("3.13.18"), logIndexOf("3.12.14"), "1", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: sigstore: log_index ` + logIndexOf("3.12.14") + ` is there twice`},
		{"time of the log", s13, "17:46:23Z", "19:46:23+02:00", "17:46:24Z", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: sigstore: time "2025-06-11T19:46:23+02:00" is not one like 2025-06-11T17:46:23Z`},
		{"time of the log, too exact", s13, "17:46:23Z", "17:46:23.5Z", "17:46:23Z", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: sigstore: time "2025-06-11T17:46:23.5Z" is not one like 2025-06-11T17:46:23Z`},
		{"time of the signature", s13, "T17:45:54Z", "", "T00:00:00Z", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: openpgp: time "2025-06-11" is not one like 2025-06-11T17:46:23Z`},
		{"key", s13, "fingerprint = \"A0", "fingerprint = \"B0", "fingerprint = \"A0", `recipe cpython/3.13.toml: release 3.13.18: tar_xz: openpgp: "B0` + a0[2:] + `" is not a key of the series`},
		{"proof key", s13, "log_index", "logindex", "log_index", `recipe cpython/3.13.toml: unknown key "release.tar_xz.sigstore.logindex"`},
		{"signer", s13, "date =", `signer = { identity = "b", issuer = "https://accounts.example" }` + "\ndate =", `signer = { identity = "b@example.org", issuer = "https://accounts.example" }` + "\ndate =", `recipe cpython/3.13.toml: release 3.13.18: signer: identity "b" is not an e-mail address`},
		{"issuer of the signer", s13, "date =", `signer = { identity = "b@example.org" }` + "\ndate =", `signer = { identity = "b@example.org", issuer = "https://accounts.example" }` + "\ndate =", `recipe cpython/3.13.toml: release 3.13.18: signer: issuer "" is not an https URL`},

		{"tool", parts, `commands = ["make", "gmake"]`, "", `commands = ["make"]`, `recipe parts.toml: tool make: not either commands or files`},
		{"tool name", parts, `"make"`, `"Make"`, `"make"`, `recipe parts.toml: tool Make: name "Make" is not lower-case letters, digits and hyphens`},
		{"tool and part", parts, `name = "tests"`, `name = "make"`, `name = "suite"`, `recipe parts.toml: part make: "make" is there twice`},
		{"part key", parts, `modules = ["nis"]`, `module = ["nis"]`, `modules = []`, `recipe parts.toml: unknown key "part.module"`},
		{"tier", parts, `"wanted"`, `"nice"`, `"required"`, `recipe parts.toml: part nis: tier "nice" is none of core, required, wanted, option`},
		{"summary", parts, `"NIS"`, `""`, `"N"`, `recipe parts.toml: part nis: no summary`},
		{"until", parts, `until = "3.12"`, `until = "3.12.1"`, `until = "3.11"`, `recipe parts.toml: part nis: "3.12.1" is not a series`},
		{"span", parts, `until = "3.12"`, "since = \"3.10\"\nuntil = \"3.9\"", "since = \"3.9\"\nuntil = \"3.10\"", `recipe parts.toml: part nis: since 3.10 is after until 3.9`},
		{"extension twice", parts, `extensions = ["nis"]`, `extensions = ["_ssl"]`, `extensions = ["_nis"]`, `recipe parts.toml: part nis: "_ssl" is there twice`},
		{"module", parts, `modules = ["nis"]`, `modules = ["a b"]`, `modules = ["a.b"]`, `recipe parts.toml: part nis: modules: malformed "a b"`},
		{"extension twice in a later series", parts, `"_zstd", until = "3.13"`, `"_zstd", until = "3.14"`, `"_zstd", until = "3.9"`, `recipe parts.toml: part zstd: "_zstd" is there twice`},
		{"extension twice in one part", parts, `"math"`, `"_sha2"`, `{ name = "_sha2", until = "3.11" }`, `recipe parts.toml: part core: "_sha2" is there twice`},
		{"extension's span", parts, `"_sha2", since = "3.12"`, `"_sha2", since = "3.12", until = "3.11"`, `"_sha2", since = "3.12", until = "3.12"`, `recipe parts.toml: part core: extensions: _sha2: since 3.12 is after until 3.11`},
		{"extension's span in the part's", parts, `extensions = ["_zstd"]`, `extensions = [{ name = "_zstd", until = "3.13" }]`, `extensions = [{ name = "_zstd", until = "3.14" }]`, `recipe parts.toml: part zstd: extensions: _zstd: since 3.14 is after until 3.13`},
		{"extension's series", parts, `"_sha2", since = "3.12"`, `"_sha2", since = "3.12.1"`, `"_sha2", since = "3.11"`, `recipe parts.toml: part core: extensions: _sha2: "3.12.1" is not a series`},
		{"extension's name", parts, `"math"`, `"math.integer"`, `"math_integer"`, `recipe parts.toml: part core: extensions: malformed "math.integer"`},
		{"extension without a name", parts, `name = "_sha2"`, `until = "3.13"`, `name = "_sha"`, `recipe parts.toml: part core: extensions: malformed ""`},
		{"core with a probe", parts, `name = "nis"` + "\ntier = \"wanted\"", `name = "nis"` + "\ntier = \"core\"", `name = "nis"` + "\ntier = \"option\"", `recipe parts.toml: part nis: a core part with a probe`},
		{"header", parts, `"tls.h"`, `"tls"`, `"t/tls.h"`, `recipe parts.toml: part ssl: probe 2: headers: malformed "tls"`},
		{"no header", parts, `["tls.h"]`, `[]`, `["t.h"]`, `recipe parts.toml: part ssl: probe 2: no headers`},
		{"symbol", parts, `"tls_new"`, `"tls_new()"`, `"tls_free"`, `recipe parts.toml: part ssl: probe 2: symbol: malformed "tls_new()"`},
		{"library", parts, `["tls"]`, `["-ltls"]`, `["tls9.0"]`, `recipe parts.toml: part ssl: probe 2: libs: malformed "-ltls"`},
		{"include directory", parts, `"/usr/include/tls"`, `"include"`, `"/include"`, `recipe parts.toml: part ssl: probe 1: include_dirs: malformed "include"`},
		{"minimum", parts, `says = "OpenSSL 1.1.1"`, `says = ""`, `says = "OpenSSL"`, `recipe parts.toml: part ssl: probe 1: no says`},
		{"test of two lines", parts, `"V >= 0x10101000L"`, `"V\n#error"`, `"V > 1"`, `recipe parts.toml: part ssl: probe 1: test "V\n#error" is not one line`},

		{"ids", deb, `ids = ["debian", "ubuntu"]`, "", `ids = ["debian"]`, `recipe platforms/debian.toml: no ids`},
		{"id twice", deb, `"ubuntu"`, `"alpine"`, `"kali"`, `recipe platforms/debian.toml: ids: "alpine" is there twice`},
		{"platform name", deb, `name = "debian"`, `name = "ubuntu"`, `name = 'debian'`, `recipe platforms/debian.toml: the file of platform ubuntu has another name`},
		{"install", deb, `install = ["apt-get", "install", "--yes"]`, "", `install = ["apt"]`, `recipe platforms/debian.toml: no install`},
		{"environment", deb, `"DEBIAN_FRONTEND=noninteractive"`, `"QUIET"`, `"Q="`, `recipe platforms/debian.toml: environment: "QUIET" is not NAME=value`},
		{"pool place-holder", deb, "{version}", "{release}", "{version}-1", `recipe platforms/debian.toml: pool: no {version}`},
		{"pool escapes", deb, "pool/main", "../pool", "pool", `recipe platforms/debian.toml: pool: malformed "../pool/p/python{series}/python{series}_{version}.orig.tar.{compression}"`},
		{"package key missing", deb, `make = ["make"]` + "\n", "", "make = ['make', 'libssl-dev']\n", `recipe platforms/debian.toml: packages: nothing about "make"`},
		{"package key unknown", deb, `nis = []`, "nis = []\ntls = []", "nis = ['libnsl-dev']", `recipe platforms/debian.toml: packages: "tls" is not a tool, nor a part with a probe`},
		{"part without probe", deb, `nis = []`, "nis = []\nzstd = []", "nis = [] # zstd", `recipe platforms/debian.toml: packages: "zstd" is not a tool, nor a part with a probe`},
		{"option as package", deb, `["libssl-dev"]`, `["--reinstall"]`, `["libssl-dev", "libssl-dev"]`, `recipe platforms/debian.toml: packages: ssl: malformed "--reinstall"`},

		{"busy", deb, `'Could not get lock'`, `'lock('`, `'lock'`, "recipe platforms/debian.toml: busy: error parsing regexp: missing closing ): `lock(`"},
		{"busy at everything", deb, `'Could not get lock'`, `'lock|'`, `'lock|$x'`, `recipe platforms/debian.toml: busy: "lock|" matches everything`},
		{"absent", deb, `pool =`, "absent = ['tls']\npool =", "absent = ['nis']\npool =", `recipe platforms/debian.toml: absent: "tls" is not a tool, nor a part with a probe`},
		{"absent and packages", deb, `pool =`, "absent = ['make']\npool =", "absent = []\npool =", `recipe platforms/debian.toml: packages: "make" is absent`},
		{"variant's key", deb, `since = "11"`, `from = "11"`, `since = "12"`, `recipe platforms/debian.toml: unknown key "variant.from"`},
		{"variant's id", deb, `ids = ["debian"]`, `ids = ["mint"]`, `ids = ["ubuntu"]`, `recipe platforms/debian.toml: variant 1: ids: "mint" is not an id of the platform`},
		{"variant's since", deb, `since = "11"`, `since = "bookworm"`, `since = "11.0"`, `recipe platforms/debian.toml: variant 1: since "bookworm" is not numbers between dots`},
		{"variant's until", deb, `until = "10"`, `until = "10."`, `until = "10.10"`, `recipe platforms/debian.toml: variant 2: until "10." is not numbers between dots`},
		{"variant's span", deb, `since = "11"`, "since = '11'\nuntil = '10.4'", "since = '11.10'\nuntil = '11'", `recipe platforms/debian.toml: variant 1: since 11 is after until 10.4`},
		{"variant's install", deb, `since = "11"`, `install = []`, `install = ["apt"]`, `recipe platforms/debian.toml: variant 1: no install`},
		{"variant's refresh", deb, `since = "11"`, `refresh = [""]`, `refresh = []`, `recipe platforms/debian.toml: variant 1: refresh: "" is not one word`},
		{"variant's environment", deb, `since = "11"`, `environment = ["A"]`, `environment = ["A=1"]`, `recipe platforms/debian.toml: variant 1: environment: "A" is not NAME=value`},
		{"variant's need", deb, `packages = { nis`, `packages = { zstd`, `packages = { 'nis'`, `recipe platforms/debian.toml: variant 1: packages: "zstd" is not a tool, nor a part with a probe`},
		{"variant's absent need", deb, `absent = ["ssl"]`, `absent = ["zstd"]`, `absent = ["ssl", "nis"]`, `recipe platforms/debian.toml: variant 2: absent: "zstd" is not a tool, nor a part with a probe`},
		{"variant of nothing", deb, "absent = [\"ssl\"]\nsays = \"too old\"", "", `says = "too old"`, `recipe platforms/debian.toml: variant 2: nothing is different`},
		{"source's place", deb, `at = "control of Debian's python3.13"`, "", `at = "control"`, `recipe platforms/debian.toml: source 1: no at`},
		{"package without a source", deb, `, "libnsl-dev"]`, `]`, `, "libnsl-dev"] # all`, `recipe platforms/debian.toml: packages: no source has "libnsl-dev"`},
		{"source of nothing", deb, `, "libnsl-dev"]`, `, "libnsl-dev", "x"]`, `, "libnsl-dev", "make"]`, `recipe platforms/debian.toml: source 1: "x" is in no packages`},

		{"quirk's name", quirk, `"stack"`, `"training"`, `"stacks"`, `recipe quirks.toml: quirk training: "training" is there twice`},
		{"quirk's condition", quirk, `">= 3.10, < 3.15"`, `"3.10"`, `"= 3.10"`, `recipe quirks.toml: quirk training: cpython: "3.10" is not a condition like >= 3.8`},
		{"quirk's pre-release", quirk, `">= 3.10, < 3.15"`, `">= 3.10, < 3.15.0-rc1"`, `">= 3.10, < 3.15.1"`, `recipe quirks.toml: quirk training: cpython: "< 3.15.0-rc1" is not a condition like >= 3.8`},
		{"quirk's compiler", quirk, `"clang < 12"`, `"icc < 12"`, `"gcc < 12"`, `recipe quirks.toml: quirk training: with: toolchain "icc" is none of gcc, clang, glibc, musl`},
		{"quirk's compiler version", quirk, `"clang < 12"`, `"clang <12"`, `"clang"`, `recipe quirks.toml: quirk training: with: "<12" is not a condition like >= 3.8`},
		{"quirk's musl version", quirk, `"clang < 12"`, `"musl < 1.2"`, `"glibc < 1.2"`, `recipe quirks.toml: quirk training: with: the version of musl is never known`},
		{"quirk's profile", quirk, `profile = ["release"]`, `profile = ["fast"]`, `profile = []`, `recipe quirks.toml: quirk training: profile "fast" is none of release`},
		{"quirk's argument", quirk, `"--enable-optimizations"`, `"--with-lto"`, "", `recipe quirks.toml: quirk training: without: "--with-lto" is no argument of a profile`},
		{"quirk's flag", quirk, `"-DSTACK=1"`, `"-DSTACK=1 -g"`, `"-DSTACK=2"`, `recipe quirks.toml: quirk stack: cflags: "-DSTACK=1 -g" is not one word`},
		{"quirk of nothing", quirk, `"-DSTACK=1"`, "", `"-g"`, `recipe quirks.toml: quirk stack: not either refused or built in another way`},
		{"quirk refused and built", quirk, `refuse = true`, "refuse = true\ncflags = ['-g']", `cflags = ['-g']`, `recipe quirks.toml: quirk too-new: not either refused or built in another way`},
		{"quirk's words", quirk, `"a larger stack"`, `""`, `"larger"`, `recipe quirks.toml: quirk stack: no says`},
		{"quirk's source", quirk, `source = "made up"`, "", `source = "made"`, `recipe quirks.toml: quirk stack: no source`},
		{"quirk's key", quirk, `refuse =`, `refused =`, `refuse  =`, `recipe quirks.toml: unknown key "quirk.refused"`},

		{"failure twice", fail, smallFailures, smallFailures + smallFailures, smallFailures, `recipe failures.toml: failure out-of-memory: "out-of-memory" is there twice`},
		{"failure's pattern", fail, `'^cc1?: Killed'`, `'(Killed'`, `'(Killed)'`, "recipe failures.toml: failure out-of-memory: pattern: error parsing regexp: missing closing ): `(Killed`"},
		{"failure's any line", fail, `'^cc1?: Killed'`, `'.*'`, `'.+'`, `recipe failures.toml: failure out-of-memory: pattern: ".*" matches everything`},
		{"failure without a pattern", fail, `'^cc1?: Killed'`, `''`, `'Killed'`, `recipe failures.toml: failure out-of-memory: no pattern`},
		{"failure's summary", fail, `"memory ran out"`, `" "`, `"memory"`, `recipe failures.toml: failure out-of-memory: no summary`},
		{"failure's remedy", fail, `"--jobs 1"`, `""`, `"wait"`, `recipe failures.toml: failure out-of-memory: no remedy`},
		{"failure's source", fail, `"made"`, `""`, `"seen"`, `recipe failures.toml: failure out-of-memory: no source`},
		{"failure's key", fail, `remedy`, `cure`, `'remedy'`, `recipe failures.toml: unknown key "failure.cure"`},

		{"disk", prof, `disk = 700`, ``, `disk = 1`, `recipe profiles.toml: profile release: disk: 0 is not a number of MiB`},
		{"memory", prof, `memory = 500`, `memory = -1`, `memory = 1`, `recipe profiles.toml: profile release: memory: -1 is not a number of MiB`},
		{"seconds", prof, `unpack = 2.5`, `unpack = 0`, `configure = 1e5`, `recipe profiles.toml: profile release: seconds: 0 is not how long unpack takes`},
		{"endless seconds", prof, `2.5`, `inf`, `3`, `recipe profiles.toml: profile release: seconds: +Inf is not how long unpack takes`},
		{"profiles", prof, smallProfiles, "", smallProfiles + "\n", `recipe profiles.toml: no profile`},
		{"profile twice", prof, smallProfiles, smallProfiles + smallProfiles, smallProfiles, `recipe profiles.toml: profile release: "release" is there twice`},
		{"flag", prof, `"-g0"`, `"-g0 -O3"`, `"-O3"`, `recipe profiles.toml: profile release: cflags: "-g0 -O3" is not one word`},
	} {
		t.Run(row.name, func(t *testing.T) {
			files := smallFiles()
			if !strings.Contains(files[row.file], row.old) {
				t.Fatalf("%s does not contain %q", row.file, row.old)
			}
			load := func(text string) (*Catalogue, error) {
				changed := maps.Clone(files)
				changed[row.file] = strings.Replace(files[row.file], row.old, text, 1)
				return Load(fsOf(changed))
			}
			if c, err := load(row.bad); err == nil || err.Error() != row.want || c != nil {
				t.Errorf("bad: %v, %v\nwant nil, %s", c, err, row.want)
			}
			if _, err := load(row.good); err != nil {
				t.Errorf("good: %v", err)
			}
		})
	}
}

// TestLoadNeedsFiles takes away what a catalogue cannot do without.
func TestLoadNeedsFiles(t *testing.T) {
	for _, row := range []struct{ prefix, want string }{
		{"parts.toml", "recipe parts.toml: open parts.toml: file does not exist"},
		{"profiles.toml", "recipe profiles.toml: open profiles.toml: file does not exist"},
		{"platforms/", "recipe platforms: no recipe"},
		{"cpython/", "recipe cpython: no recipe"},
	} {
		files := smallFiles()
		maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasPrefix(name, row.prefix) })
		if _, err := Load(fsOf(files)); err == nil || err.Error() != row.want {
			t.Errorf("without %s: %v, want %s", row.prefix, err, row.want)
		}
	}
	loadSmall(t)                                                    // the twin: with all of them
	for _, file := range []string{"quirks.toml", "failures.toml"} { // it may do without these
		files := smallFiles()
		delete(files, file)
		if _, err := Load(fsOf(files)); err != nil {
			t.Errorf("without %s: %v", file, err)
		}
	}
}

func TestLoadSyntax(t *testing.T) {
	files := smallFiles()
	files["parts.toml"] = "[[part]\n"
	_, err := Load(fsOf(files))
	if err == nil || !strings.HasPrefix(err.Error(), "recipe parts.toml: toml: line ") {
		t.Errorf("got %v, want the file and the line", err)
	}
	loadSmall(t)
}

// TestSigners: either kind of signer will do, none at all will not.
func TestSigners(t *testing.T) {
	for _, row := range []struct {
		drop []string
		want string
	}{
		{nil, "<nil>"},
		{[]string{smallKeys}, "<nil>"},
		{[]string{smallIdentity}, "<nil>"},
		{[]string{smallKeys, smallIdentity}, "recipe cpython/3.13.toml: no signer"},
	} {
		files := smallFiles()
		files["cpython/3.13.toml"] = strings.Replace(smallSeries("3.13", "3.13.5"), `signature-verified", `+smallProofs("3.13.5"), `agreed"`, 1)
		for _, line := range row.drop {
			files["cpython/3.13.toml"] = strings.Replace(files["cpython/3.13.toml"], line, "", 1)
		}
		if _, err := Load(fsOf(files)); fmt.Sprint(err) != row.want {
			t.Errorf("without %q: %v, want %s", row.drop, err, row.want)
		}
	}
}

// TestArchives: a release needs one archive, of either kind.
func TestArchives(t *testing.T) {
	xz := fmt.Sprintf("tar_xz = { sha256 = %q, size = 1000, proof = \"signature-verified\", %s }\n", digestOf("3.13.5.tar.xz"), smallProofs("3.13.5"))
	gz := fmt.Sprintf("tgz = { sha256 = %q, proof = \"agreed\" }\n", digestOf("3.13.5.tgz"))
	for _, row := range []struct {
		drop []string
		want string
	}{
		{nil, "<nil>"},
		{[]string{xz}, "<nil>"},
		{[]string{gz}, "<nil>"},
		{[]string{xz, gz}, "recipe cpython/3.13.toml: release 3.13.5: no archive"},
	} {
		files := smallFiles()
		for _, line := range row.drop {
			files["cpython/3.13.toml"] = strings.Replace(files["cpython/3.13.toml"], line, "", 1)
		}
		if _, err := Load(fsOf(files)); fmt.Sprint(err) != row.want {
			t.Errorf("without %q: %v, want %s", row.drop, err, row.want)
		}
	}
}

// FuzzLoad puts any bytes in the place of each kind of recipe, and into an extension: never a panic, always a catalogue or an
// error. What loads answers and can be written down again; what extends has taken nothing away.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		smallParts, smallDebian, smallProfiles, smallQuirks, smallFailures, smallSeries("3.13", "3.13.1", "3.13.0"), "", "x = 1", "[[release]]",
		signed("3.13.19"), signed("3.13.1"), signed("3.13.1rc1"),
		strings.Replace(signed("3.13.19"), "date", "signer = { identity = \"b@example.org\", issuer = \"https://b.example\" }\ndate", 1),
	} {
		f.Add(s)
	}
	base := map[string]string{
		"parts.toml":            smallParts,
		"profiles.toml":         smallProfiles,
		"quirks.toml":           smallQuirks,
		"failures.toml":         smallFailures,
		"platforms/debian.toml": smallDebian,
		"cpython/3.13.toml":     smallSeries("3.13", "3.13.1"),
	}
	f.Fuzz(func(t *testing.T, content string) {
		for name := range base {
			files := maps.Clone(base)
			files[name] = content
			c, err := Load(fsOf(files))
			if (c == nil) == (err == nil) {
				t.Fatalf("%s: %v, %v", name, c, err)
			}
			if err != nil {
				continue
			}
			for _, spec := range []string{"latest", "3.13", "3.13.1", "nonsense"} {
				if s, err := c.Resolve(spec); (s == nil) == (err == nil) {
					t.Fatalf("%s: Resolve(%q): %v, %v", name, spec, s, err)
				}
			}
			c.PartsOf("3.13")
			for _, p := range c.Platforms {
				for _, version := range []string{"", "8", "13.4", "sid"} {
					c.Platform(p.IDs[0], version).IsBusy("Could not get lock")
				}
			}
			for _, f := range c.Failures {
				f.Match("cc1: Killed")
			}
			for _, s := range c.Series {
				for _, r := range s.Releases {
					reread(t, r)
					c.Quirks(r, Toolchain{"gcc", "14.2.0", "glibc", "", ""}, "release")
				}
			}
		}
		c, err := Load(fsOf(base))
		if err != nil {
			t.Fatal(err)
		}
		series, old := c.Series[0], c.Series[0].Releases[0]
		before := old.Stanza()
		if err := c.Extend(fsOf(map[string]string{"cpython/3.13.toml": content})); err != nil && len(series.Releases) != 1 {
			t.Fatalf("changed in spite of %v", err)
		}
		if series.Release(old.Version) != old || old.Stanza() != before {
			t.Fatalf("changed what was known: %s", old.Stanza())
		}
		for _, r := range series.Releases {
			reread(t, r)
			for _, a := range r.Archives {
				if r != old && a.Proof != ProofSignature {
					t.Fatalf("added by %s: %s", a.Proof, r.Stanza())
				}
			}
		}
	})
}
