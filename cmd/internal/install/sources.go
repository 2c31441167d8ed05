package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"pybuild/fetch"
	"pybuild/fetch/apt"
	"pybuild/recipes"
	"pybuild/verify"
)

// Upstream is where CPython's release managers publish, and what a mirror is laid out like.
const Upstream = "https://www.python.org/ftp/python/"

// sources lists where the release can be had from, in the order in which the places are asked: --source alone, or the mirrors,
// python.org, and the pools that the machine's package manager knows. Every digest comes from the catalogue or the user.
func (in *Installer) sources(rel *recipes.Selection, o Options) ([]fetch.Source, error) {
	if o.Source != "" {
		source, err := in.given(rel, o)
		return []fetch.Source{source}, err
	}
	var sources []fetch.Source
	for _, base := range append(slices.Clone(o.Mirrors), in.Upstream) {
		for _, a := range rel.Archives {
			sources = append(sources, fetch.Source{URL: strings.TrimSuffix(base, "/") + "/" + a.Path, Artifact: artifact(a)})
		}
	}
	if in.Host.Platform == nil || in.Host.Platform.Pool == "" {
		return sources, nil
	}
	bases, err := apt.BaseURIs(in.Root)
	if err != nil {
		in.Reporter.Warn(fmt.Sprintf("the distribution's pool cannot be asked: %v", err))
	}
	for _, base := range bases {
		for _, a := range rel.Archives {
			sources = append(sources, fetch.Source{URL: base + "/" + in.Host.Platform.PoolPath(rel.Release, a), Artifact: artifact(a)})
		}
	}
	return sources, nil
}

func artifact(a recipes.Archive) fetch.Artifact {
	return fetch.Artifact{Name: a.Name, SHA256: a.SHA256, Size: a.Size}
}

// given is the source that the user named. The digest is --sha256, else the catalogue must know the file.
func (in *Installer) given(rel *recipes.Selection, o Options) (fetch.Source, error) {
	url, file := o.Source, ""
	if !strings.Contains(o.Source, "://") {
		file, url = o.Source, "file://"+o.Source
	} else if rest, ok := strings.CutPrefix(o.Source, "file://"); ok {
		file = rest
	}
	if o.SHA256 != "" {
		return fetch.Source{URL: url, Artifact: fetch.Artifact{Name: path.Base(o.Source), SHA256: o.SHA256}}, nil
	}
	if file == "" {
		for _, a := range rel.Archives {
			if compression(a.Name) == compression(o.Source) {
				return fetch.Source{URL: url, Artifact: artifact(a)}, nil
			}
		}
		return fetch.Source{}, &DigestError{Source: o.Source, Version: rel.String()}
	}
	digest, err := digestOf(file)
	if err != nil {
		return fetch.Source{}, fmt.Errorf("reading --source: %w", err)
	}
	found, a := in.Catalogue.ArchiveByDigest(digest)
	switch {
	case a == nil:
		return fetch.Source{}, &DigestError{Source: o.Source, Version: rel.String(), SHA256: digest}
	case found.Version != rel.Version:
		return fetch.Source{}, &DigestError{Source: o.Source, Version: rel.String(), SHA256: digest, Is: found.Version.String()}
	}
	return fetch.Source{URL: url, Artifact: artifact(*a)}, nil
}

// compression tells the two archives of a release apart.
func compression(name string) string {
	if strings.HasSuffix(name, ".xz") {
		return "xz"
	}
	if strings.HasSuffix(name, ".tgz") || strings.HasSuffix(name, ".tar.gz") {
		return "gzip"
	}
	return ""
}

// DigestError says that nothing vouches for the file that the user named.
type DigestError struct {
	Source, Version string
	// SHA256 is the file's digest, "" when it was not read.
	SHA256 string
	// Is names the release that the file really is.
	Is string
}

func (e *DigestError) Error() string {
	switch {
	case e.Is != "":
		return fmt.Sprintf("%s is Python %s, not %s", e.Source, e.Is, e.Version)
	case e.SHA256 != "":
		return fmt.Sprintf("%s is not a known archive of Python %s: its SHA-256 is %s", e.Source, e.Version, e.SHA256)
	}
	return fmt.Sprintf("no known archive of Python %s is named like %s", e.Version, e.Source)
}

func digestOf(name string) (digest string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Fetch downloads and verifies the archive of a release into the cache.
func (in *Installer) Fetch(ctx context.Context, rel *recipes.Selection, o Options) (*fetch.File, error) {
	sources, err := in.sources(rel, o)
	if err != nil {
		return nil, err
	}
	return in.fetch(ctx, rel.String(), sources)
}

func (in *Installer) fetch(ctx context.Context, version string, sources []fetch.Source) (*fetch.File, error) {
	done := in.Reporter.Step(version, "fetch")
	file, err := in.Cache.Get(ctx, fetch.Request{
		Sources: sources,
		Check: func(a fetch.Artifact, f *os.File) error {
			done := in.Reporter.Step(version, "verify")
			err := check(a, f)
			done(err)
			return err
		},
		Progress: in.Reporter.Progress,
		Skipped:  func(a fetch.Attempt) { in.Reporter.Warn(fmt.Sprintf("skipped %s: %v", a.URL, a.Err)) },
	})
	done(err)
	if err != nil {
		return nil, err
	}
	in.Reporter.Detail(fmt.Sprintf("%s: size and SHA-256 are right (%s)", file.Artifact.Name, file.Artifact.SHA256))
	return file, nil
}

// check is the policy: what an archive must be before it is used.
func check(a fetch.Artifact, f *os.File) error {
	if a.Size == 0 {
		return verify.SHA256(a.SHA256)(f)
	}
	return verify.All(verify.Size(a.Size), verify.SHA256(a.SHA256))(f)
}

// proof is how the catalogue's digest of this archive was proven, "given" for one that the user vouched for.
func proof(rel *recipes.Selection, file *fetch.File) string {
	for _, a := range rel.Archives {
		if a.SHA256 == file.Artifact.SHA256 {
			return a.Proof
		}
	}
	return "given"
}
