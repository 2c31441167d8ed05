package run

import (
	"io/fs"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

func TestUnprivileged(t *testing.T) {
	const debian = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	for _, test := range []struct {
		name    string
		environ []string
		passwd  string
		uid     uint32
		gid     uint32
		user    string
		want    string // error
	}{
		{"sudo", []string{"SUDO_UID=1000", "SUDO_GID=100", "SUDO_USER=ada"}, debian, 1000, 100, "ada", ""},
		{"sudo, no name", []string{"SUDO_UID=1000", "SUDO_GID=100"}, debian, 1000, 100, "", ""},
		{"the last counts", []string{"SUDO_UID=1", "SUDO_GID=1", "SUDO_UID=2"}, debian, 2, 1, "", ""},
		{"sudo by root", []string{"SUDO_UID=0", "SUDO_GID=0", "SUDO_USER=root"}, debian, 65534, 65534, "nobody", ""},
		{"sudo by root's group", []string{"SUDO_UID=1000", "SUDO_GID=0", "SUDO_USER=ada"}, debian, 65534, 65534, "nobody", ""},
		{"half of sudo", []string{"SUDO_UID=1000"}, debian, 65534, 65534, "nobody", ""},
		{"empty", []string{"SUDO_UID=", "SUDO_GID="}, debian, 65534, 65534, "nobody", ""},
		{"no sudo", nil, "nobody:*:99:98:x:/:/\n", 99, 98, "nobody", ""},
		{"first of two", nil, "nobody:*:99:98:x:/:/\nnobody:*:97:96:x:/:/\n", 99, 98, "nobody", ""},
		{"nobody is root", nil, "nobody:*:0:0:x:/:/\n", 65534, 65534, "", ""},
		{"nobody in root's group", nil, "nobody:*:99:0:x:/:/\n", 65534, 65534, "", ""},
		{"somebody", nil, "somebody:x:1:1:x:/:/\n", 65534, 65534, "", ""},
		{"broken line", nil, "nobody:x:1:1\nnobody:x:-1:1:x:/:/\nnobody:x:5:6:x:/:/", 5, 6, "nobody", ""},
		{"no file", nil, "", 65534, 65534, "", ""},
		{"no number", []string{"SUDO_UID=ada", "SUDO_GID=1"}, debian, 0, 0, "", `SUDO_UID: strconv.ParseUint: parsing "ada": invalid syntax`},
		{"no group number", []string{"SUDO_UID=1", "SUDO_GID=-1"}, debian, 0, 0, "", `SUDO_GID: strconv.ParseUint: parsing "-1": invalid syntax`},
		{"too high", []string{"SUDO_UID=4294967296", "SUDO_GID=1"}, debian, 0, 0, "", `SUDO_UID: strconv.ParseUint: parsing "4294967296": value out of range`},
		{"unchanged", []string{"SUDO_UID=4294967295", "SUDO_GID=1"}, debian, 0, 0, "", `SUDO_UID: strconv.ParseUint: parsing "4294967295": value out of range`},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{}
			if test.passwd != "" {
				root["etc/passwd"] = &fstest.MapFile{Data: []byte(test.passwd)}
			}
			uid, gid, user, err := Unprivileged(test.environ, root)
			var got string
			if err != nil {
				got = err.Error()
			}
			if uid != test.uid || gid != test.gid || user != test.user || got != test.want {
				t.Errorf("%d:%d %q, %q; want %d:%d %q, %q", uid, gid, user, got, test.uid, test.gid, test.user, test.want)
			}
		})
	}
}

// A list of users that cannot be read is not one that lacks nobody.
func TestUnprivilegedUnreadable(t *testing.T) {
	root := fstest.MapFS{"etc/passwd": &fstest.MapFile{Mode: fs.ModeDir}}
	if _, _, _, err := Unprivileged(nil, root); err == nil || err.Error() != "read etc/passwd: invalid argument" {
		t.Errorf("error %v", err)
	}
}

func FuzzLookUp(f *testing.F) {
	f.Add("nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", "nobody")
	f.Fuzz(func(t *testing.T, passwd, name string) {
		uid, gid, ok := lookUp(passwd, name)
		if !ok && (uid != 0 || gid != 0) || uid == math.MaxUint32 || gid == math.MaxUint32 {
			t.Errorf("%d:%d, %v", uid, gid, ok)
		}
		if strings.ContainsAny(name, ":\n") {
			return
		}
		line := name + ":x:7:8:::\n"
		if uid, gid, ok := lookUp(line+passwd, name); uid != 7 || gid != 8 || !ok {
			t.Errorf("first line %q: %d:%d, %v", line, uid, gid, ok)
		}
	})
}

func TestRules(t *testing.T) {
	r := rules{"/a": true, "/a/b": false, "/a/b/c": true, "/ab": false}
	for _, test := range []struct {
		path string
		want bool
	}{
		{"/", false}, {"/x", false}, {"/a", true}, {"/a/x", true}, {"/a/b", false}, {"/a/b/x/y", false}, {"/a/b/c", true}, {"/a/b/c/d", true}, {"/ab", false}, {"/abc", false},
	} {
		if got := r.writable(test.path); got != test.want {
			t.Errorf("%s: %v", test.path, got)
		}
	}
}

func TestParseMountInfo(t *testing.T) {
	for _, test := range []struct {
		name, text, path, options, want string
	}{
		{"plain", "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n", "/", "rw,relatime", ""},
		{"optional fields", "36 35 98:0 /m /mnt ro,noatime shared:1 master:2 - ext3 /dev/root rw\n", "/mnt", "ro,noatime", ""},
		{"space", `36 35 98:0 /m /a\040b\134c rw - ext3 x rw` + "\n", `/a b\c`, "rw", ""},
		{"short", "36 35 98:0 / /\n", "", "", "mountinfo: line \"36 35 98:0 / /\\n\""},
		{"relative", "36 35 98:0 / x rw - ext3 x rw\n", "", "", "mountinfo: line \"36 35 98:0 / x rw - ext3 x rw\\n\""},
	} {
		t.Run(test.name, func(t *testing.T) {
			points, err := parseMountInfo(test.text)
			if test.want != "" {
				if err == nil || err.Error() != test.want {
					t.Errorf("error %v, want %s", err, test.want)
				}
				return
			}
			if err != nil || len(points) != 1 || points[0].path != test.path || strings.Join(points[0].options, ",") != test.options {
				t.Errorf("%+v, %v", points, err)
			}
		})
	}
}

func FuzzParseMountInfo(f *testing.F) {
	f.Add("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n", "/a b")
	f.Fuzz(func(t *testing.T, text, path string) {
		points, _ := parseMountInfo(text)
		for _, p := range points {
			if p.path == "" || len(p.options) == 0 {
				t.Errorf("%+v", p)
			}
		}
		// What the kernel does to a path is undone.
		var escaped strings.Builder
		for _, c := range []byte(path) {
			escaped.WriteString(`\` + string([]byte{'0' + c>>6, '0' + c>>3&7, '0' + c&7}))
		}
		if got := unescape(escaped.String()); got != path {
			t.Errorf("%q came back as %q", path, got)
		}
	})
}

func TestMemoryKills(t *testing.T) {
	const v1 = "4:memory:/x\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing", nil, 0},
		{"group", map[string]string{"proc/self/cgroup": v1 + "0::/user.slice/x\n", "sys/fs/cgroup/user.slice/x/memory.events": "oom 1\noom_kill 3\noom_group_kill 0\n", "proc/vmstat": "oom_kill 9\n"}, 3},
		{"root group", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": "oom_kill 4\n", "proc/vmstat": "oom_kill 9\n"}, 4},
		{"group that does not count", map[string]string{"proc/self/cgroup": "0::/\n", "proc/vmstat": "nr_free 1\noom_kill 9\n"}, 9},
		{"group out of sight", map[string]string{"proc/self/cgroup": "0::/../x\n", "proc/vmstat": "oom_kill 9\n"}, 9},
		{"first version", map[string]string{"proc/self/cgroup": v1, "proc/vmstat": "oom_kill 9\n"}, 9},
		{"no number", map[string]string{"proc/vmstat": "oom_kill many\n"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := memoryKills(files(test.files)); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

func TestOutOfMemoryIsSaid(t *testing.T) {
	err := &Error{Argv: []string{"cc", "a.c"}, Status: -1, Signal: 9, Err: fs.ErrClosed}
	if got, want := err.Error(), "cc a.c: file already closed"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	err.OutOfMemory = true
	if got, want := err.Error(), "cc a.c: file already closed, and memory ran out"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestYoungest(t *testing.T) {
	stat := func(pid, name, parent, start string) string {
		return pid + " (" + name + ") S " + parent + strings.Repeat(" 0", 17) + " " + start + " 0 0\n"
	}
	machine := files(map[string]string{
		"proc/1/stat": stat("1", "init", "0", "1"), "proc/1/cmdline": "init\x00",
		"proc/10/stat": stat("10", "make) S 99 (", "1", "5"), "proc/10/cmdline": "make\x00-j2\x00",
		"proc/11/stat": stat("11", "cc", "10", "6"), "proc/11/cmdline": "cc\x00old.c\x00",
		"proc/12/stat": stat("12", "cc", "10", "7"), "proc/12/cmdline": "cc\x00new file.c\x00\x00",
		"proc/13/stat": stat("13", "cc", "10", "7"), "proc/13/cmdline": "cc\x00newest.c\x00",
		"proc/20/stat": stat("20", "sh", "1", "9"), "proc/20/cmdline": "other\x00",
		"proc/30/stat": stat("30", "sh", "31", "9"), "proc/31/stat": stat("31", "sh", "30", "9"), "proc/30/cmdline": "ring\x00", "proc/31/cmdline": "ring\x00",
		"proc/40/stat": stat("40", "sh", "1", "8"), "proc/41/stat": stat("41", "kworker", "40", "9"), "proc/41/cmdline": "",
		"proc/50/stat": "nonsense",
	})
	for _, test := range []struct {
		name     string
		pid, own int
		want     string
	}{
		{"youngest of three", 10, 0, "cc newest.c"},
		{"own", 10, 1, ""},
		{"no child", 12, 0, ""},
		{"from the top", 1, 0, "other"},
		{"ring", 30, 0, "ring"},
		{"nothing to be seen", 40, 0, ""},
		{"nobody", 99, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Quote(youngest(machine, test.pid, test.own)); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("10 (a b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n", "x) S (")
	f.Fuzz(func(t *testing.T, text, name string) {
		if p, ok := parseStat([]byte(text)); ok && (p.pid <= 0 || p.parent < 0) {
			t.Errorf("%+v", p)
		}
		line := "7 (" + name + ") R 5" + strings.Repeat(" 0", 17) + " " + strconv.Itoa(99) + "\n"
		if p, ok := parseStat([]byte(line)); !ok || p != (process{pid: 7, parent: 5, start: 99}) {
			t.Errorf("%q: %+v, %v", line, p, ok)
		}
	})
}

func files(list map[string]string) fs.FS {
	root := fstest.MapFS{}
	for name, text := range list {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}
