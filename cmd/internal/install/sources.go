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

	"pybuild/build/prefix"
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
		archives := rel.Archives
		if strings.HasPrefix(base, "file://") {
			// Where nothing is transferred, the larger archive is the faster one: gzip unpacks in a third of the time of xz.
			archives = slices.Clone(archives)
			slices.Reverse(archives)
		}
		for _, a := range archives {
			sources = append(sources, fetch.Source{URL: strings.TrimSuffix(base, "/") + "/" + a.Path, Artifact: artifact(a)})
		}
	}
	for _, base := range in.pools() {
		for _, a := range rel.Archives {
			if path := in.Host.Platform.PoolPath(rel.Release, a); path != "" {
				sources = append(sources, fetch.Source{URL: base + "/" + path, Artifact: artifact(a)})
			}
		}
	}
	return sources, nil
}

// pools are the base URLs of the distribution's mirrors, as the machine's package manager knows them.
func (in *Installer) pools() []string {
	if in.Host.Platform == nil || in.Host.Platform.Pool == "" {
		return nil
	}
	bases, err := apt.BaseURIs(in.Root)
	if err != nil {
		in.Reporter.Warn(fmt.Sprintf("the distribution's pool cannot be asked: %v", err))
	}
	return bases
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

// Fetch downloads and verifies the archive of a release, and its signature, into the cache.
func (in *Installer) Fetch(ctx context.Context, rel *recipes.Selection, o Options) (*fetch.File, prefix.Signature, error) {
	sources, err := in.sources(rel, o)
	if err != nil {
		return nil, prefix.Signature{}, err
	}
	file, err := in.fetch(ctx, rel, sources)
	if err != nil {
		return nil, prefix.Signature{}, err
	}
	signature, err := in.authenticate(ctx, rel, o, file, sources)
	return file, signature, err
}

func (in *Installer) fetch(ctx context.Context, rel *recipes.Selection, sources []fetch.Source) (*fetch.File, error) {
	version := rel.String()
	done := in.Reporter.Step(version, "fetch")
	file, err := in.Cache.Get(ctx, fetch.Request{
		Sources: sources,
		Check: func(a fetch.Artifact, f *os.File) error {
			done := in.Reporter.Step(version, "verify")
			err := check(a, f)
			done(err)
			return err
		},
		Progress: in.bytes(version, "fetch"),
		Skipped:  func(a fetch.Attempt) { in.Reporter.Warn(fmt.Sprintf("skipped %s: %v", a.URL, a.Err)) },
	})
	if nowhere, ok := errors.AsType[*fetch.SourcesError](err); ok && !nowhere.Refused() {
		err = &NowhereError{Version: version, Others: in.inPool(ctx, rel), Err: nowhere}
	}
	done(err)
	if err != nil {
		return nil, err
	}
	in.Reporter.Detail(fmt.Sprintf("%s: size and SHA-256 are right (%s)", file.Artifact.Name, file.Artifact.SHA256))
	return file, nil
}

// NowhereError says that no source has the archive of a release.
type NowhereError struct {
	Version string
	// Others are releases of the same series that the distribution's pool has, newest first.
	Others []string
	Err    *fetch.SourcesError
}

func (e *NowhereError) Error() string { return e.Err.Error() }
func (e *NowhereError) Unwrap() error { return e.Err }

// inPool asks the distribution's pools which releases of the series they have. A pool that cannot be reached has none.
func (in *Installer) inPool(ctx context.Context, rel *recipes.Selection) []string {
	var found []string
	for _, base := range in.pools() {
		for _, r := range rel.Series.Releases {
			for _, a := range r.Archives {
				path := in.Host.Platform.PoolPath(r, a)
				if path == "" || slices.Contains(found, r.Version.String()) {
					continue
				}
				switch there, err := in.Cache.Exists(ctx, base+"/"+path); {
				case there:
					found = append(found, r.Version.String())
				case err != nil:
					return found
				}
			}
		}
	}
	return found
}

// check is the policy: what an archive must be before it is used.
func check(a fetch.Artifact, f *os.File) error {
	if a.Size == 0 {
		return verify.SHA256(a.SHA256)(f)
	}
	return verify.All(verify.Size(a.Size), verify.SHA256(a.SHA256))(f)
}

// proofGiven is the proof of a digest that only the user vouches for.
const proofGiven = "given"

// proof is how the catalogue's digest of this archive was proven.
func proof(rel *recipes.Selection, file *fetch.File) string {
	for _, a := range rel.Archives {
		if a.SHA256 == file.Artifact.SHA256 {
			return a.Proof
		}
	}
	return proofGiven
}
