package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"pybuild/fetch"
	"pybuild/recipes"
	"pybuild/verify/sigstore"
)

// Update is what a refresh of the catalogue found.
type Update struct {
	// Added are the new releases that are now known.
	Added []*recipes.Release
	// Skipped says of every other new release why it is not.
	Skipped []Skipped
}

// Skipped is a release that python.org announces and that the catalogue does not take.
type Skipped struct {
	Version string `json:"version"`
	Reason  string `json:"reason"`
	// Wrong is true when there is a signature and it is not by whom it must be.
	Wrong bool `json:"wrong"`
}

// What is read of python.org's release API, version 2. Nothing of it is trusted: a digest counts once the pinned signer signed it.
type (
	announcement struct {
		Name        string `json:"name"`         // "Python 3.13.5"
		Version     int    `json:"version"`      // 3; 100 is the Windows install manager
		Published   bool   `json:"is_published"` // the list holds only such, but says so
		ReleaseDate string `json:"release_date"` // 2025-06-11T16:00:00Z
		ResourceURI string `json:"resource_uri"` // .../release/1037/
	}
	announcedFile struct {
		URL    string `json:"url"`
		SHA256 string `json:"sha256_sum"` // empty for most releases before 2026
		Size   int64  `json:"filesize"`
	}
)

const (
	// maxAnswer is how much of an answer of the API is read, in bytes; the list of all releases has about 1 MB.
	maxAnswer = 32 << 20
	// answerAge is for how long an answer is good.
	answerAge = 10 * time.Minute
)

// Update asks python.org which releases there are, and writes those that are new to dir, as recipes. base is the catalogue
// without dir. A release is added only if a bundle of its series' pinned signer proves each digest; nothing known changes.
func (in *Installer) Update(ctx context.Context, base *recipes.Catalogue, dir string, o Options) (*Update, error) {
	api := strings.TrimSuffix(strings.TrimSuffix(in.Upstream, "/"), "/ftp/python") + "/api/v2/downloads/"
	var list []announcement
	if err := in.ask(ctx, api+"release/", "releases", &list); err != nil {
		return nil, err
	}
	root, err := in.trustedRoot(ctx, o)
	if err != nil {
		return nil, err
	}
	u := &Update{}
	for _, a := range list {
		version, ok := announced(a)
		if !ok {
			continue
		}
		series := in.Catalogue.SeriesOf(version)
		switch {
		case series == nil && version.Compare(in.Catalogue.Series[0].Releases[0].Version) > 0:
			u.Skipped = append(u.Skipped, Skipped{Version: version.String(), Reason: "its series is newer than this pybuild, which does not know who signs it"})
			continue
		case series == nil, series.Release(version) != nil, slices.ContainsFunc(u.Added, func(r *recipes.Release) bool { return r.Version == version }):
			continue // older than all that pybuild builds, or known
		case !version.IsFinal() && series != in.Catalogue.Series[0] && series.Newest() != nil:
			continue // a pre-release of what has been released
		}
		release, err := in.examine(ctx, root, api, a, version, series)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			err = in.fresh(release, u.Added)
		}
		if err != nil {
			_, wrong := errors.AsType[*sigstore.RefusedError](err)
			u.Skipped = append(u.Skipped, Skipped{Version: version.String(), Reason: err.Error(), Wrong: wrong})
			continue
		}
		u.Added = append(u.Added, release)
	}
	return u, in.keep(base, dir, u.Added)
}

// ask reads one answer of the API. It is kept for a while under name: an anonymous client may ask a hundred times a day.
func (in *Installer) ask(ctx context.Context, url, name string, answer any) error {
	_, _, err := in.Cache.Small(ctx, fetch.SmallRequest{
		URLs: []string{url}, Key: "api/" + name + ".json", MaxSize: maxAnswer, MaxAge: answerAge,
		Check: func(data []byte) error { return json.Unmarshal(data, answer) },
	})
	return err
}

// announced is the version that an announcement is about. Anything that is not a release of CPython 3 is not.
func announced(a announcement) (recipes.Version, bool) {
	name, ok := strings.CutPrefix(a.Name, "Python ")
	if !ok || !a.Published || a.Version != 3 {
		return recipes.Version{}, false
	}
	version, err := recipes.ParseVersion(name)
	return version, err == nil
}

// examine proves the digests of an announced release.
func (in *Installer) examine(ctx context.Context, root *sigstore.Root, api string, a announcement, version recipes.Version, series *recipes.Series) (*recipes.Release, error) {
	var files []announcedFile
	id := path.Base(a.ResourceURI)
	if _, err := strconv.ParseUint(id, 10, 64); err != nil {
		return nil, fmt.Errorf("python.org names it strangely: %q", a.ResourceURI)
	}
	if err := in.ask(ctx, api+"release_file/?release="+id, "files-"+id, &files); err != nil {
		return nil, err
	}
	release := &recipes.Release{Version: version, Series: series}
	if day, _, _ := strings.Cut(a.ReleaseDate, "T"); isDay(day) {
		release.Date = day
	}
	who := release.Signer()
	for _, archive := range recipes.ArchivesOf(version) {
		i := slices.IndexFunc(files, func(f announcedFile) bool { return path.Base(f.URL) == archive.Name })
		if i < 0 || !isDigest(strings.ToLower(files[i].SHA256)) {
			continue
		}
		archive.SHA256, archive.Size, archive.Proof = strings.ToLower(files[i].SHA256), max(0, files[i].Size), recipes.ProofSignature
		var facts *sigstore.Facts
		_, _, err := in.Cache.Small(ctx, fetch.SmallRequest{
			URLs:    []string{strings.TrimSuffix(in.Upstream, "/") + "/" + archive.Path + ".sigstore"},
			Key:     signatureKey(fetch.Artifact{Name: archive.Name, SHA256: archive.SHA256}, ".sigstore"),
			MaxSize: sigstore.MaxBundle,
			Check: func(bundle []byte) (err error) {
				facts, err = sigstore.Verify(root, bundle, archive.SHA256, sigstore.Identity{Email: who.Identity, Issuer: who.Issuer})
				return err
			},
		})
		if err != nil {
			return nil, err
		}
		archive.Sigstore = &recipes.SigstoreProof{LogIndex: facts.LogIndex, Time: facts.Time}
		release.Archives = append(release.Archives, archive)
	}
	if len(release.Archives) == 0 {
		return nil, errors.New("python.org gives no digest for it")
	}
	return release, nil
}

// fresh refuses a release with an archive of another one, and one that was signed before a release that it follows. A bundle signs
// a digest and no name, so an old archive, or one of a pre-release that the catalogue leaves out, could be announced under a new name.
func (in *Installer) fresh(r *recipes.Release, added []*recipes.Release) error {
	digests := map[string]recipes.Version{}
	for _, other := range added {
		for _, a := range other.Archives {
			digests[a.SHA256] = other.Version
		}
	}
	for _, a := range r.Archives {
		version, there := digests[a.SHA256]
		if known, _ := in.Catalogue.ArchiveByDigest(a.SHA256); known != nil {
			version, there = known.Version, true
		}
		if there {
			return fmt.Errorf("python.org gives %s the digest of an archive of %s", a.Name, version)
		}
		for _, older := range r.Series.Releases {
			if older.Version.Compare(r.Version) < 0 && slices.ContainsFunc(older.Archives, func(b recipes.Archive) bool {
				return b.Sigstore != nil && b.Sigstore.Time.After(a.Sigstore.Time)
			}) {
				return fmt.Errorf("%s was signed before %s, which it follows", a.Name, older.Version)
			}
		}
		digests[a.SHA256] = r.Version
	}
	return nil
}

func isDay(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

func isDigest(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// keep writes the releases that base does not have, those of earlier updates and the added ones, one file a series. Before a
// file takes its place, base is extended by it as it will be the next time: what pybuild could not read is not written.
func (in *Installer) keep(base *recipes.Catalogue, dir string, added []*recipes.Release) (err error) {
	files := map[string][]byte{}
	for _, s := range in.Catalogue.Series {
		releases := slices.DeleteFunc(slices.Clone(added), func(r *recipes.Release) bool { return r.Series != s })
		if len(releases) == 0 {
			continue
		}
		embedded := base.SeriesOf(s.Releases[0].Version)
		for _, r := range s.Releases {
			if embedded.Release(r.Version) == nil {
				releases = append(releases, r)
			}
		}
		slices.SortFunc(releases, func(a, b *recipes.Release) int { return b.Version.Compare(a.Version) })
		var text bytes.Buffer
		fmt.Fprintf(&text, "# Releases of %s that pybuild update found, each proven by its signer's bundle.\n", s.Name)
		for _, r := range releases {
			fmt.Fprintf(&text, "\n%s", r.Stanza())
		}
		files[s.Name+".toml"] = text.Bytes()
	}
	if len(files) == 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "cpython"), 0o755); err != nil {
		return &DirectoryError{Purpose: "data", Dir: dir, Err: err}
	}
	trial, err := os.MkdirTemp(dir, "update-")
	if err != nil {
		return &DirectoryError{Purpose: "data", Dir: dir, Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(trial)) }()
	write := func(dir string) error {
		for name, text := range files {
			if err := renameio.WriteFile(filepath.Join(dir, "cpython", name), text, 0o644); err != nil {
				return &DirectoryError{Purpose: "data", Dir: dir, Err: err}
			}
		}
		return nil
	}
	if err := os.Mkdir(filepath.Join(trial, "cpython"), 0o755); err != nil {
		return &DirectoryError{Purpose: "data", Dir: dir, Err: err}
	}
	if err := write(trial); err != nil {
		return err
	}
	if err := base.Extend(os.DirFS(trial)); err != nil {
		return fmt.Errorf("python.org announces what cannot be a recipe: %w", err)
	}
	return write(dir)
}
