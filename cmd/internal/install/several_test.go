package install

import (
	"errors"
	"testing"
	"testing/fstest"

	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/recipes"
)

func TestAtOnce(t *testing.T) {
	jobserver, err := run.NewJobserver(2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := jobserver.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, test := range []struct {
		name      string
		jobserver *run.Jobserver
		meminfo   string
		want      int
	}{
		{"enough for all", jobserver, "MemAvailable: 3000000 kB\n", 3},
		{"enough for two", jobserver, "MemAvailable: 700000 kB\n", 2},
		{"not even for one", jobserver, "MemAvailable: 1000 kB\n", 1},
		{"who knows", jobserver, "", 3},
		{"nobody shares", nil, "MemAvailable: 3000000 kB\n", 1},
	} {
		in := &Installer{Jobserver: test.jobserver, Root: fstest.MapFS{"proc/meminfo": {Data: []byte(test.meminfo)}}}
		order := Order{Options: Options{Profile: &recipes.Profile{Memory: 300}}}
		if got := in.atOnce([]Order{order, order, order}); got != test.want {
			t.Errorf("%s: %d at once, want %d", test.name, got, test.want)
		}
	}
}

func TestRivals(t *testing.T) {
	c, err := recipes.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	in := &Installer{Catalogue: c}
	wants := func(version, dir string, link ...string) *installation {
		return &installation{release: resolve(t, in, version), options: Options{Prefix: dir, Link: link}}
	}
	before := []*installation{wants("3.13.5", "/p", "python3"), nil}
	for _, test := range []struct {
		name string
		i    *installation
		want string
	}{
		{"another series", wants("3.11.2", "/p"), ""},
		{"another prefix", wants("3.11.2", "/q", "python3"), ""},
		{"the same link", wants("3.11.2", "/p", "python3"), "in the way in /p: bin/python3 (of python3.13)"},
		{"the other build of a series", wants("3.13.5t", "/p"), "in the way in /p: bin/2to3-3.13 (of python3.13), bin/idle3.13 (of python3.13), bin/pip3.13 (of python3.13) and 3 more"},
	} {
		err := rivals(before, test.i)
		if conflict, ok := errors.AsType[*prefix.ConflictError](err); ok != (test.want != "") || ok && conflict.Error() != test.want {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
