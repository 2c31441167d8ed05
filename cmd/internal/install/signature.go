package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"pybuild/build/prefix"
	"pybuild/build/unpack"
	"pybuild/fetch"
	"pybuild/recipes"
	"pybuild/verify/openpgp"
	"pybuild/verify/sigstore"
)

// Signature policies. Size and SHA-256 are always checked, before this.
const (
	// SignatureAuto verifies a signature when the release has one and it can be had. A digest that nobody but one source, or
	// only the user, vouches for needs a good one.
	SignatureAuto = "auto"
	// SignatureRequire needs a good signature, whatever the digest's proof.
	SignatureRequire = "require"
	// SignatureOff does not look.
	SignatureOff = "off"
)

// SignaturePolicies are the values that Options.Signature may have.
var SignaturePolicies = []string{SignatureAuto, SignatureRequire, SignatureOff}

// SignatureError says that an archive with the right digest may not be used, because of its signature or for want of one.
type SignatureError struct {
	Archive string
	// Wrong is true when there is a signature, and it does not prove what it must.
	Wrong bool
	// Needed says why one is needed, when there is none.
	Needed string
	Err    error
}

func (e *SignatureError) Error() string {
	if e.Wrong {
		return fmt.Sprintf("the signature of %s does not prove it: %v", e.Archive, e.Err)
	}
	return fmt.Sprintf("%s needs a good signature (%s), and none was found: %v", e.Archive, e.Needed, e.Err)
}
func (e *SignatureError) Unwrap() error { return e.Err }

// authenticate applies the policy to an archive whose digest is right. A wrong signature always stops.
func (in *Installer) authenticate(ctx context.Context, rel *recipes.Selection, o Options, file *fetch.File, sources []fetch.Source) (prefix.Signature, error) {
	none := prefix.Signature{Kind: "none"}
	if o.Signature == SignatureOff {
		return none, nil
	}
	needed := ""
	switch p := proof(rel, file); {
	case o.Signature == SignatureRequire:
		needed = "--signature require"
	case p == recipes.ProofSingleSource:
		needed = "only one source has recorded its digest"
	case p == proofGiven:
		needed = "the catalogue does not know it"
	}
	if needed == "" && !rel.Signed() {
		return none, nil
	}
	done := in.Reporter.Step(rel.String(), "verify")
	signature, err := in.signature(ctx, rel, o, file, sources)
	var wrong *SignatureError
	switch {
	case err == nil:
		in.Reporter.Detail(fmt.Sprintf("%s is signed by %s (%s)", file.Artifact.Name, signature.Identity, signature.Kind))
	case ctx.Err() != nil, errors.As(err, &wrong):
	case needed != "":
		err = &SignatureError{Archive: file.Artifact.Name, Needed: needed, Err: err}
	default:
		in.Reporter.Warn(file.Artifact.Name + ": its digest is right; its signature could not be had from any source")
		in.Reporter.Detail(err.Error())
		signature, err = none, nil
	}
	if errors.As(err, &wrong) && wrong.Wrong {
		// What somebody signed wrongly is not what it claims to be, whatever its digest.
		err = errors.Join(err, in.Cache.Remove(fetch.Entry{Path: file.Path, Artifact: file.Artifact}))
	}
	done(err)
	return signature, err
}

// errUnsigned says that upstream never signed a release in a way that we know.
var errUnsigned = errors.New("the release has no signature")

// signature looks for the signatures that the release has, the stronger kind first, and verifies the first that can be had.
func (in *Installer) signature(ctx context.Context, rel *recipes.Selection, o Options, file *fetch.File, sources []fetch.Source) (prefix.Signature, error) {
	problem := error(nil)
	for _, kind := range []struct {
		has   bool
		check func(context.Context, *recipes.Selection, Options, *fetch.File, []string) (prefix.Signature, error)
	}{{rel.HasSigstore(), in.sigstore}, {rel.HasOpenPGP(), in.openpgp}} {
		if !kind.has {
			continue
		}
		s, err := kind.check(ctx, rel, o, file, places(file, sources))
		var wrong *SignatureError
		if err == nil || ctx.Err() != nil || errors.As(err, &wrong) {
			return s, err
		}
		problem = errors.Join(problem, err)
	}
	if problem == nil {
		problem = errUnsigned
	}
	return prefix.Signature{}, problem
}

// places are the URLs of the very archive, that which served it first: its signatures lie beside it.
func places(file *fetch.File, sources []fetch.Source) []string {
	var urls []string
	for _, s := range sources {
		if s.Artifact.SHA256 != file.Artifact.SHA256 {
			continue
		}
		if s.URL == file.Source {
			urls = append([]string{s.URL}, urls...)
		} else {
			urls = append(urls, s.URL)
		}
	}
	return urls
}

// signatureKey is where the cache keeps what belongs to an artifact.
func signatureKey(a fetch.Artifact, suffix string) string { return a.SHA256 + "/" + a.Name + suffix }

// signatureSuffixes are what is added to the name of an archive to name its signatures.
var signatureSuffixes = [...]string{".sigstore", ".asc"}

// Signatures are the signatures of a verified archive that the cache keeps, by the suffix of their names.
func (in *Installer) Signatures(ctx context.Context, file *fetch.File) (map[string][]byte, error) {
	kept := map[string][]byte{}
	for _, suffix := range signatureSuffixes {
		accept := func([]byte) error { return nil } // it was verified when it was kept
		data, _, err := in.Cache.Small(ctx, fetch.SmallRequest{Key: signatureKey(file.Artifact, suffix), MaxSize: sigstore.MaxBundle, Check: accept})
		if err == nil {
			kept[suffix] = data
		} else if _, none := errors.AsType[*fetch.SourcesError](err); !none {
			return nil, err
		}
	}
	return kept, nil
}

// beside has a small file that lies beside the archive, from the cache or the places.
func (in *Installer) beside(ctx context.Context, file *fetch.File, places []string, suffix string, maxSize int64, check func([]byte) error) error {
	urls := make([]string, len(places))
	for i, p := range places {
		urls[i] = p + suffix
	}
	_, _, err := in.Cache.Small(ctx, fetch.SmallRequest{URLs: urls, Key: signatureKey(file.Artifact, suffix), MaxSize: maxSize, Check: check})
	if sources, ok := errors.AsType[*fetch.SourcesError](err); ok && sources.Refused() {
		var refused []error // that others could not be reached does not matter any more
		for _, a := range sources.Attempts {
			if _, ok := errors.AsType[*fetch.RefusedError](a.Err); ok {
				refused = append(refused, fmt.Errorf("%s: %w", a.URL, a.Err))
			}
		}
		return &SignatureError{Archive: file.Artifact.Name, Wrong: true, Err: errors.Join(refused...)}
	}
	return err
}

func (in *Installer) sigstore(ctx context.Context, rel *recipes.Selection, o Options, file *fetch.File, places []string) (prefix.Signature, error) {
	root, err := in.trustedRoot(ctx, o)
	if _, unusable := errors.AsType[*sigstore.RootError](err); unusable {
		return prefix.Signature{}, &SignatureError{Archive: file.Artifact.Name, Wrong: true, Err: err}
	}
	if err != nil {
		return prefix.Signature{}, err
	}
	who := rel.Signer()
	err = in.beside(ctx, file, places, ".sigstore", sigstore.MaxBundle, func(bundle []byte) error {
		_, err := sigstore.Verify(root, bundle, file.Artifact.SHA256, sigstore.Identity{Email: who.Identity, Issuer: who.Issuer})
		return err
	})
	return prefix.Signature{Kind: "sigstore", Identity: who.Identity}, err
}

const (
	rootAge  = 7 * 24 * time.Hour // how old a trusted root may be before a newer one is asked for
	rootWait = 5 * time.Second    // for an answer: the one at hand will do
)

// trustedRoot is the user's own, else the newest at hand: what is carried or kept still verifies without a network.
func (in *Installer) trustedRoot(ctx context.Context, o Options) (*sigstore.Root, error) {
	if o.TrustedRoot != "" {
		data, err := os.ReadFile(o.TrustedRoot)
		if err != nil {
			return nil, fmt.Errorf("reading --trusted-root: %w", err)
		}
		root, err := sigstore.ParseRoot(data)
		if err != nil {
			return nil, fmt.Errorf("--trusted-root %s: %w", o.TrustedRoot, err)
		}
		return root, nil
	}
	dir := filepath.Join(in.Cache.Dir, "sigstore")
	root, err := sigstore.Cached(dir)
	if err != nil || in.Cache.Offline || time.Since(root.Fetched) < rootAge {
		return root, err
	}
	brief, cancel := context.WithTimeout(ctx, rootWait)
	defer cancel()
	newer, err := sigstore.Refresh(brief, dir, in.current)
	if err != nil {
		in.Reporter.Detail(fmt.Sprintf("going on with the trusted root at hand: %v", err))
		return root, nil
	}
	return newer, nil
}

func (in *Installer) openpgp(ctx context.Context, rel *recipes.Selection, o Options, file *fetch.File, places []string) (prefix.Signature, error) {
	fingerprints := rel.Series.OpenPGP
	var key string
	var keyless error
	err := in.beside(ctx, file, places, ".asc", openpgp.MaxSignature, func(signature []byte) (err error) {
		keys, err := in.keys(ctx, rel, o, fingerprints, signature)
		if err != nil {
			keyless = err
			return err
		}
		archive, err := os.Open(file.Path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, archive.Close()) }()
		facts, err := openpgp.Verify(archive, signature, keys, fingerprints)
		if err == nil {
			key = facts.Fingerprint
		}
		return err
	})
	if err != nil && keyless != nil && o.Keyring == "" {
		err = keyless // a signature that cannot be checked is not a wrong one
	}
	return prefix.Signature{Kind: "openpgp", Identity: key}, err
}

// KeyServer is the base URL below which OpenPGP keys lie by fingerprint.
const KeyServer = "https://keys.openpgp.org/vks/v1/by-fingerprint/"

// keys has a public key for one of the fingerprints: from the user's keyring, the cache, the key server, or the source package of
// the distribution. Nothing of these is trusted: a key counts only if it has the pinned fingerprint, and one is kept only if this
// copy of it can say something about the signature.
func (in *Installer) keys(ctx context.Context, rel *recipes.Selection, o Options, fingerprints []string, signature []byte) (*openpgp.Keyring, error) {
	if o.Keyring != "" {
		data, err := os.ReadFile(o.Keyring)
		if err != nil {
			return nil, fmt.Errorf("reading --keyring: %w", err)
		}
		return openpgp.ParseKeyring(data)
	}
	var problem error
	for _, fingerprint := range fingerprints {
		var key *openpgp.Keyring
		find := func(data []byte) error {
			ring, err := openpgp.ParseKeyring(data)
			if err == nil {
				key, err = ring.Find(fingerprint)
			}
			if err == nil {
				err = damaged(key, signature, fingerprint)
			}
			return err
		}
		requests := []fetch.SmallRequest{{URLs: []string{in.KeyServer + fingerprint}, Key: "keys/" + fingerprint + ".asc", MaxSize: openpgp.MaxKeyring, Check: find}}
		for _, url := range in.packagings(rel) {
			requests = append(requests, fetch.SmallRequest{URLs: []string{url}, Key: "packaging/" + path.Base(url), MaxSize: maxPackaging, Check: func(data []byte) error {
				data, err := packagedKey(ctx, data)
				if err != nil {
					return err
				}
				return find(data)
			}})
		}
		for _, request := range requests {
			_, _, err := in.Cache.Small(ctx, request)
			if err == nil {
				return key, nil
			}
			if ctx.Err() != nil {
				return nil, err
			}
			problem = errors.Join(problem, err)
		}
	}
	return nil, fmt.Errorf("no key %s: %w", strings.Join(fingerprints, ", "), problem)
}

// damaged refuses a copy of a key of which a bit has changed: another place may have a whole one.
func damaged(key *openpgp.Keyring, signature []byte, fingerprint string) error {
	_, err := openpgp.Verify(strings.NewReader(""), signature, key, []string{fingerprint}) // of no file: everything else is not asked
	if refused, ok := errors.AsType[*openpgp.RefusedError](err); ok && refused.Reason == openpgp.KeyDamaged {
		return err
	}
	return nil
}

const (
	// revisions is how many of the distribution's packagings of a release are tried for its signer's key.
	revisions = 3
	// maxPackaging is the size of the largest packaging that is read, in bytes; CPython's have about 250 KB.
	maxPackaging = 16 << 20
)

// packagings are the URLs of the distribution's packaging of a release, which holds the upstream signer's key.
func (in *Installer) packagings(rel *recipes.Selection) []string {
	var urls []string
	for _, base := range in.pools() {
		for revision := 1; revision <= revisions; revision++ {
			if path := in.Host.Platform.PackagingPath(rel.Release, revision); path != "" {
				urls = append(urls, base+"/"+path)
			}
		}
	}
	return urls
}

// packagedKey takes debian/upstream/signing-key.asc out of a Debian packaging archive.
func packagedKey(ctx context.Context, packaging []byte) (key []byte, err error) {
	dir, err := os.MkdirTemp("", "pybuild-key-")
	if err != nil {
		return nil, &DirectoryError{Purpose: "temporary", Dir: os.TempDir(), Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tree := filepath.Join(dir, "tree")
	archive, err := os.Create(filepath.Join(dir, "packaging.tar.xz"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	if _, err := archive.Write(packaging); err != nil {
		return nil, err
	}
	if err := os.Mkdir(tree, 0o700); err != nil {
		return nil, err
	}
	top, err := unpack.Tar(ctx, archive, tree, unpack.Limits{Bytes: 64 << 20, Entries: 10_000}, nil)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return fs.ReadFile(root.FS(), "upstream/signing-key.asc")
}

// current reads a small file as it is on its server now.
func (in *Installer) current(ctx context.Context, url string, limit int64) ([]byte, error) {
	data, _, err := in.Cache.Small(ctx, fetch.SmallRequest{
		URLs: []string{url}, Key: "current/" + path.Base(url), MaxSize: limit, MaxAge: time.Nanosecond, Check: func([]byte) error { return nil },
	})
	return data, err
}
