package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pybuild/recipes"
	"pybuild/verify/sigstore"
)

// realBundles is where bundles that CPython's release managers published lie, beside a checkout of the module.
const realBundles = "../../../../shared/data/sigstore/bundles"

// TestCatalogueProofs proves every digest of the embedded catalogue whose bundle is at hand, by the identity and issuer that the
// catalogue pins for the release, and holds against it the place and time in the log that the catalogue records. No archive is
// needed for that: a bundle signs the digest.
func TestCatalogueProofs(t *testing.T) {
	bundles, err := os.ReadDir(realBundles)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("skipped: the real bundles are not there: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	atHand := map[string]bool{}
	for _, b := range bundles {
		atHand[b.Name()] = true
	}
	catalogue, err := recipes.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	root, err := sigstore.Embedded()
	if err != nil {
		t.Fatal(err)
	}

	start := time.Now()
	var proven atomic.Int32
	var wanted int32
	var wg sync.WaitGroup
	byProof := map[string]int{}
	for _, s := range catalogue.Series {
		for _, r := range s.Releases {
			for _, a := range r.Archives {
				byProof[a.Proof]++
				name := a.Name + ".sigstore"
				if !atHand[name] {
					if a.Sigstore != nil {
						t.Errorf("%s: the catalogue has a proof of which the bundle is not there", a.Name)
					}
					continue
				}
				delete(atHand, name)
				wanted++
				wg.Go(func() {
					bundle, err := os.ReadFile(filepath.Join(realBundles, name))
					if err != nil {
						t.Error(err)
						return
					}
					who := r.Signer()
					facts, err := sigstore.Verify(root, bundle, a.SHA256, sigstore.Identity{Email: who.Identity, Issuer: who.Issuer})
					if err != nil {
						t.Errorf("%s: %v", a.Name, err)
						return
					}
					if !r.HasSigstore() || a.Sigstore == nil || a.Proof != recipes.ProofSignature {
						t.Errorf("%s: the catalogue does not say that it is proven", a.Name)
						return
					}
					if got := (recipes.SigstoreProof{LogIndex: facts.LogIndex, Time: facts.Time}); got != *a.Sigstore {
						t.Errorf("%s: the bundle says %+v, the catalogue %+v", a.Name, got, *a.Sigstore)
						return
					}
					proven.Add(1)
				})
			}
		}
	}
	wg.Wait()
	if proven.Load() != wanted || wanted == 0 {
		t.Errorf("%d of %d digests are proven", proven.Load(), wanted)
	}
	for name := range atHand {
		// What is left is of releases that the catalogue does not have on purpose.
		version, err := recipes.ParseVersion(strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(name, ".sigstore"), archiveSuffix(name)), "Python-"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if s := catalogue.SeriesOf(version); s != nil && s.Release(version) != nil {
			t.Errorf("%s: the catalogue has the release, but not the archive", name)
		}
	}
	t.Logf("%d digests proven by their bundles in %.2f s; the catalogue has %v; %d bundles are of releases that it does not have",
		proven.Load(), time.Since(start).Seconds(), byProof, len(atHand))
}

// archiveSuffix is what the name of a bundle says about the archive.
func archiveSuffix(bundle string) string {
	for _, suffix := range []string{".tar.xz", ".tgz"} {
		if strings.HasSuffix(bundle, suffix+".sigstore") {
			return suffix
		}
	}
	return ""
}
