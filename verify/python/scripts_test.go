package python

import (
	"strings"
	"testing"
)

func TestInterpreter(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"", ""},
		{"#!", ""},
		{"# !/bin/sh\n", ""},
		{"\x7fELF", ""},
		{"#!/bin/sh", "/bin/sh"},
		{"#!/bin/sh\necho\n", "/bin/sh"},
		{"#! /usr/bin/env python3 \n", "/usr/bin/env python3"},
		{"#!/usr/bin/python3\r\n", "/usr/bin/python3"},
		{"#!/bin/sh\n'''exec' /long/python3.13 \"$0\" \"$@\"\n' '''\n", "/long/python3.13"},
		{"#!/bin/sh\n'''exec' \"/with space/python3.13\" \"$0\" \"$@\"\n' '''\n", "/with space/python3.13"},
		{"#!/bin/sh\n'''exec' /long/python3.13\n", "/bin/sh"},
		{"#!/bin/sh\nexec /long/python3.13 \"$0\" \"$@\"\n", "/bin/sh"},
		{"#!/bin/bash\n'''exec' /long/python3.13 \"$0\" \"$@\"\n", "/bin/bash"},
	} {
		if got := interpreter([]byte(row.text)); got != row.want {
			t.Errorf("%q: got %q, want %q", row.text, got, row.want)
		}
	}
}

func FuzzInterpreter(f *testing.F) {
	f.Add([]byte("#!/bin/sh\n'''exec' \"/with space/python3.13\" \"$0\" \"$@\"\n' '''\n"))
	f.Add([]byte("#! /usr/bin/env python3"))
	f.Fuzz(func(t *testing.T, text []byte) {
		switch by := interpreter(text); {
		case by == "":
		case !strings.HasPrefix(string(text), "#!"):
			t.Errorf("%q is no script, but started by %q", text, by)
		case strings.Contains(by, "\n") || !strings.Contains(string(text), by):
			t.Errorf("%q is not started by %q", text, by)
		}
	})
}
