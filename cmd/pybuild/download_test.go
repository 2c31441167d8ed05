//go:build linux

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pybuild/build/unpack"
	"pybuild/fetch"
	"pybuild/recipes"
	"pybuild/verify"
)

// BenchmarkDownload compares downloading, verifying and unpacking a real archive from loopback with a shell pipeline that does
// the same: curl, tee, sha256sum, tar. The figures of both are wall seconds, and their ratio.
func BenchmarkDownload(b *testing.B) {
	program, cache := program(b), cacheFor(b)
	catalogue, err := recipes.Embedded()
	if err != nil {
		b.Fatal(err)
	}
	for _, version := range []string{"3.13.5", "3.11.2"} {
		path := fetched(b, program, cache, version)
		rel, archive := catalogue.ArchiveByDigest(filepath.Base(filepath.Dir(path)))
		if archive == nil {
			b.Fatalf("%s is no archive of the catalogue", path)
		}
		artifact := fetch.Artifact{Name: archive.Name, SHA256: archive.SHA256, Size: archive.Size}
		server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(path))))
		defer server.Close()
		url := server.URL + "/" + filepath.Base(path)
		b.Run(fmt.Sprintf("%s/%s", rel.Version, strings.TrimPrefix(archive.Name, "Python-"+rel.Version.String()+".")), func(b *testing.B) {
			var own, pipeline time.Duration
			for b.Loop() {
				own += timed(b, func(dir string) error {
					c := &fetch.Cache{Dir: filepath.Join(dir, "cache")}
					check := func(a fetch.Artifact, f *os.File) error {
						return verify.All(verify.Size(a.Size), verify.SHA256(a.SHA256))(f)
					}
					file, err := c.Get(b.Context(), fetch.Request{Sources: []fetch.Source{{URL: url, Artifact: artifact}}, Check: check})
					if err != nil {
						return err
					}
					f, err := os.Open(file.Path)
					if err != nil {
						return err
					}
					defer f.Close()
					tree := filepath.Join(dir, "tree")
					if err := os.Mkdir(tree, 0o755); err != nil {
						return err
					}
					_, err = unpack.Tar(b.Context(), f, tree, unpack.Limits{}, nil)
					return err
				})
				pipeline += timed(b, func(dir string) error {
					compression := "z"
					if strings.HasSuffix(url, ".xz") {
						compression = "J"
					}
					script := fmt.Sprintf("set -o pipefail; curl -sf %s | tee >(sha256sum >sum) | tar x%s", url, compression)
					cmd := exec.CommandContext(b.Context(), "bash", "-c", script)
					cmd.Dir = dir
					return cmd.Run()
				})
			}
			b.ReportMetric(own.Seconds()/float64(b.N), "s/pybuild")
			b.ReportMetric(pipeline.Seconds()/float64(b.N), "s/pipeline")
			b.ReportMetric(own.Seconds()/pipeline.Seconds(), "×pipeline")
		})
	}
}

func timed(b *testing.B, do func(dir string) error) time.Duration {
	b.Helper()
	dir := b.TempDir()
	start := time.Now()
	if err := do(dir); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
