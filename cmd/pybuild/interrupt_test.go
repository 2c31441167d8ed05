package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pybuild/build/host"
	"pybuild/cmd/internal/install"
	"pybuild/fetch"
	"pybuild/fetch/fetchtest"
	"pybuild/recipes"
)

// TestInterrupted cancels an installation at the moment at which a step begins, for every step. The prefix is as it was, with
// nothing in it and with an older Python, and nothing half-done is left.
func TestInterrupted(t *testing.T) {
	world := newWorld(t)
	mirror := fetchtest.Server(t, world.mirror)
	catalogue, err := recipes.Load(os.DirFS(filepath.Join(world.recipes, "fake")))
	if err != nil {
		t.Fatal(err)
	}
	quick, err := catalogue.Profile("quick")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"), []byte("certificates\n"))

	for _, at := range []string{"", "resolve", "check", "fetch", "verify", "unpack", "configure", "compile", "stage", "inspect", "commit"} {
		t.Run("at "+at, func(t *testing.T) {
			t.Parallel()
			for _, before := range []string{"", "3.13.4"} {
				dir := t.TempDir()
				prefix, cache := filepath.Join(dir, "prefix"), filepath.Join(dir, "cache")
				attempt := func(version, at string) error {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					rel, err := catalogue.Resolve(version)
					if err != nil {
						t.Fatal(err)
					}
					reporter := &recorder{at: at, cancel: cancel}
					in := &install.Installer{
						Catalogue: catalogue, Host: &host.Host{}, Root: os.DirFS(root), Upstream: mirror.URL,
						Cache: &fetch.Cache{Dir: cache}, Reporter: reporter,
					}
					_, err = in.Install(ctx, rel, install.Options{Prefix: prefix, Profile: quick, Jobs: 1})
					if at != "" && !slices.Contains(reporter.began, at) {
						t.Errorf("never got to %s: %v", at, reporter.began)
					}
					if len(reporter.open) > 0 {
						t.Errorf("steps that did not end: %v", reporter.open)
					}
					return err
				}
				if before != "" {
					if err := attempt(before, ""); err != nil {
						t.Fatal(err)
					}
				}
				was := tree(t, prefix)
				err := attempt("3.13.5", at)
				if err := checkTidy(cache, filepath.Join(dir, "no-temporary-files")); err != nil {
					t.Error(err)
				}
				switch is := tree(t, prefix); {
				case at == "" && (err != nil || is == was):
					t.Errorf("not interrupted, but: %v\n%s", err, is)
				case at != "" && !errors.Is(err, context.Canceled):
					t.Errorf("error %v, want %v", err, context.Canceled)
				case at != "" && is != was:
					t.Errorf("prefix before:\n%s\nafter:\n%s", was, is)
				}
			}
		})
	}
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	text, err := describeTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A recorder cancels when a step begins.
type recorder struct {
	at     string
	cancel func()

	mu    sync.Mutex
	began []string
	open  []string // began, and have not ended
}

func (r *recorder) Step(_, step string) func(error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began, r.open = append(r.began, step), append(r.open, step)
	if step == r.at {
		r.cancel()
	}
	return func(error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		i := slices.Index(r.open, step)
		r.open = slices.Delete(r.open, i, i+1)
	}
}

func (r *recorder) Progress(install.Progress) {}
func (r *recorder) Warn(string)               {}
func (r *recorder) Note(string)               {}
func (r *recorder) Detail(string)             {}
