package python

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// work is a piece of work for modules, and what must come out of it.
type work struct {
	check   string            // several of one check follow each other
	probe   string            // in the script
	modules []string          // which promise it; nil: every Python can do it
	want    map[string]string // what it is -> how it must be
	// optional are those that the host may be without: the library was built
	// so, or there is no such data.
	optional []string
}

var works = []work{
	{CheckSSL, "ssl", []string{"ssl", "_ssl"},
		map[string]string{"text through TLS": "dliubyp", "unknown certificate": "refused"}, nil},
	{CheckSQLite, "sqlite", []string{"sqlite3", "_sqlite3"},
		map[string]string{"sum of 1 to 10": "55", "JSON": "42", "FTS5": "[1, 3]"}, []string{"JSON", "FTS5"}},
	// Digests of "abc".
	{CheckHashlib, "hashlib", nil, map[string]string{
		"blake2b":   "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
		"blake2s":   "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
		"md5":       "900150983cd24fb0d6963f7d28e17f72",
		"sha1":      "a9993e364706816aba3e25717850c26c9cd0d89d",
		"sha224":    "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
		"sha256":    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha384":    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
		"sha512":    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		"sha3_224":  "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
		"sha3_256":  "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
		"sha3_384":  "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
		"sha3_512":  "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
		"shake_128": "5881092dd818bf5cf8a3ddb793fbcba74097d5c526a6d35f97b83351940f2cc8",
		"shake_256": "483366601360a8771c6863080cc4114d8db44530f8f1e1ee4f94ea37e78b5739",
	}, nil},
	// Vectors of RFC 4231 and RFC 7914.
	{CheckHashlib, "openssl", []string{"_hashlib"}, map[string]string{
		"hmac":   "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		"pbkdf2": "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc",
		"scrypt": "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442",
	}, []string{"hmac", "pbkdf2", "scrypt"}},
	{CheckCtypes, "ctypes", []string{"ctypes", "_ctypes"},
		map[string]string{"result of a callback": "42", "strlen of pybuild": "7"}, nil},
	compression("zlib", "zlib", "zlib", "gzip"),
	compression("bz2", "bz2", "bz2", "_bz2"),
	compression("lzma", "lzma", "lzma", "_lzma"),
	compression("zstd", "compression.zstd", "compression.zstd", "_zstd"),
	// decimal imports without its accelerator: only _decimal promises it.
	{CheckDecimal, "decimal", []string{"_decimal"},
		map[string]string{"decimal.Decimal": "in C", "1/7": "0.14285714285714285714285714285714285714285714285714"}, nil},
	{CheckCurses, "curses", []string{"curses", "_curses"}, map[string]string{"terminfo": "am=1"}, []string{"terminfo"}},
	{CheckReadline, "readline", []string{"readline"}, map[string]string{"last line of history": "pybuild"}, nil},
	{CheckTkinter, "tkinter", []string{"tkinter", "_tkinter"}, map[string]string{"expr {6 * 7}": "42"}, nil},
	{CheckDbm, "gdbm", []string{"dbm.gnu", "_gdbm"}, map[string]string{"text in a database of _gdbm": "pybuild"}, nil},
	{CheckDbm, "ndbm", []string{"dbm.ndbm", "_dbm"}, map[string]string{"text in a database of _dbm": "pybuild"}, nil},
	// uuid, too, imports without.
	{CheckUUID, "uuid", []string{"_uuid"}, map[string]string{"version": "1", "two of them": "differ"}, nil},
	{CheckZoneinfo, "zoneinfo", []string{"zoneinfo", "_zoneinfo"},
		map[string]string{"zoneinfo.ZoneInfo": "in C", "offsets of a zone": "5400 5400", "tzdata": "-18000 -14400"}, []string{"tzdata"}},
	{CheckCrypt, "crypt", []string{"crypt", "_crypt"},
		map[string]string{"method": "$6$", "same word": "good", "other word": "wrong"}, nil},
}

func compression(probe, module string, modules ...string) work {
	return work{CheckCompression, probe, modules, map[string]string{"text after " + module: "the same", "size after " + module: "smaller"}, nil}
}

// core is the same for modules that need nothing from the host, in one probe.
var core = []struct {
	name    string // in the script
	modules []string
	want    string
	// optional is for what a sandbox may forbid.
	optional bool
}{
	{"asyncio", []string{"asyncio", "_asyncio"}, "42", false},
	{"datetime", []string{"datetime", "_datetime"}, "2024-03-01, in C", false},
	{"json", []string{"json", "_json"}, `{"a": [1, 2.5, null]}, in C`, false},
	{"math", []string{"math"}, "6 1.414213562373095", false},
	{"multiprocessing", []string{"multiprocessing", "_multiprocessing"}, "locked", true},
	{"pickle", []string{"pickle", "_pickle"}, "{'a': (1, 2)}, in C", false},
	{"pyexpat", []string{"pyexpat"}, "a{} b{'x': '1'}", false},
	{"socket", []string{"socket", "_socket"}, "pybuild", false},
	{"struct", []string{"struct", "_struct"}, "0100000000000000e03f", false},
	{"subprocess", []string{"subprocess", "_posixsubprocess"}, "42", false},
	{"unicodedata", []string{"unicodedata"}, "LATIN SMALL LETTER E WITH ACUTE", false},
}

// works is what this Python was asked to do.
func (in *inspection) works(q question) (asked []work) {
	for _, w := range works {
		if slices.Contains(q.Probes, w.probe) {
			asked = append(asked, w)
		}
	}
	if len(q.Core) == 0 {
		return asked
	}
	all := work{check: CheckCore, probe: CheckCore, want: make(map[string]string)}
	for _, c := range core {
		if slices.Contains(q.Core, c.name) {
			all.want[c.name] = c.want
			if c.optional {
				all.optional = append(all.optional, c.name)
			}
		}
	}
	return append(asked, all)
}

// work judges every piece of work, one result a check.
func (in *inspection) work() (results []Result) {
	var findings []error
	var details []string
	asked := in.works(in.question())
	for i, w := range asked {
		a := in.facts.Probes[w.probe]
		found := w.judge(a)
		if w.probe != w.check && len(found) > 0 {
			found = []error{fmt.Errorf("%s: %w", w.probe, join(found))}
		}
		findings = append(findings, found...)
		if text := w.detail(a); text != "" {
			details = append(details, text)
		}
		if i+1 == len(asked) || asked[i+1].check != w.check {
			results = append(results, Result{Check: w.check, Detail: strings.Join(details, ", "), Err: join(findings)})
			findings, details = nil, nil
		}
	}
	return results
}

// errNotAnswered is for a probe that the script was asked to make and did not.
var errNotAnswered = errors.New("was not tried")

func (w *work) judge(a *answer) (findings []error) {
	switch {
	case a == nil:
		return []error{errNotAnswered}
	case a.Error != "":
		return []error{errors.New(a.Error)}
	}
	for _, what := range slices.Sorted(maps.Keys(w.want)) {
		got, answered := a.Values[what]
		switch {
		case answered && got == w.want[what],
			!answered && slices.Contains(a.Lacks, what) && slices.Contains(w.optional, what):
		case answered:
			findings = append(findings, &MismatchError{What: what, Got: got, Want: w.want[what]})
		default:
			findings = append(findings, fmt.Errorf("%s: %w", what, errNotAnswered))
		}
	}
	if c := a.Authorities; w.probe == "ssl" {
		switch {
		case c == nil:
			findings = append(findings, fmt.Errorf("certificates of authorities: %w", errNotAnswered))
		case c.Loaded+c.Files == 0:
			findings = append(findings, fmt.Errorf("no certificates of authorities, neither in %s nor in %s", c.CAFile, c.CAPath))
		}
	}
	return findings
}

func (w *work) detail(a *answer) string {
	if a == nil {
		return ""
	}
	var texts []string
	if w.check == CheckCompression {
		texts = append(texts, w.probe)
	}
	if a.Detail != "" {
		texts = append(texts, a.Detail)
	}
	switch c := a.Authorities; {
	case c == nil:
	case c.Loaded > 0:
		texts = append(texts, fmt.Sprintf("%d certificates", c.Loaded))
	case c.Files > 0:
		texts = append(texts, "certificates in "+c.CAPath)
	}
	for _, what := range a.Lacks {
		texts = append(texts, "without "+what)
	}
	return strings.Join(texts, ", ")
}
