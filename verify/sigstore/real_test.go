package sigstore

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// realData is where bundles that CPython's release managers published lie, with
// an index of what they prove. They are not part of this module.
const realData = "../../../shared/data/sigstore"

// realBundle is a row of the index.
type realBundle struct {
	File     string `json:"file"`
	SHA256   string `json:"artifact_sha256"`
	Identity string `json:"identity"`
	Issuer   string `json:"issuer"`
	Times    string `json:"times"` // "Tlog@2023-04-05T11:21:26Z,TimestampAuthority@…"
	LogIndex string `json:"logIndex"`
}

func (b realBundle) who() Identity { return Identity{Email: b.Identity, Issuer: b.Issuer} }

func realIndex(t *testing.T) []realBundle {
	t.Helper()
	var index []realBundle
	if err := json.Unmarshal(realFile(t, "index.json"), &index); err != nil {
		t.Fatal(err)
	}
	if len(index) == 0 {
		t.Fatal("the index of real bundles is empty")
	}
	return index
}

func realFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(realData, name))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("skipped: real Sigstore data is not there: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func embedded(t testing.TB) *Root {
	t.Helper()
	r, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRealBundles proves every published bundle at hand with the root that is
// compiled in.
func TestRealBundles(t *testing.T) {
	index := realIndex(t)
	root := embedded(t)
	start := time.Now()
	var good atomic.Int32
	var wg sync.WaitGroup
	for _, b := range index {
		wg.Go(func() {
			data, err := os.ReadFile(filepath.Join(realData, "bundles", b.File))
			if err != nil {
				t.Error(err)
				return
			}
			facts, err := Verify(root, data, b.SHA256, b.who())
			if err != nil {
				t.Errorf("%s: %v", b.File, err)
				return
			}
			first, _, _ := strings.Cut(b.Times, ",")
			want := Facts{Identity: b.Identity, Issuer: b.Issuer, Log: "https://rekor.sigstore.dev"}
			want.LogIndex, err = strconv.ParseInt(b.LogIndex, 10, 64)
			if err != nil {
				t.Error(err)
			}
			want.Time, err = time.Parse(time.RFC3339, strings.TrimPrefix(first, "Tlog@"))
			if err != nil {
				t.Error(err)
			}
			if *facts != want {
				t.Errorf("%s: facts are %+v, want %+v", b.File, *facts, want)
				return
			}
			good.Add(1)
		})
	}
	wg.Wait()
	if int(good.Load()) != len(index) {
		t.Errorf("%d of %d bundles verified", good.Load(), len(index))
	}
	t.Logf("%d of %d bundles verified in %.2f s", good.Load(), len(index), time.Since(start).Seconds())
}

// TestRealBundlesAgree holds the index against what the releases and the signers
// are said to be elsewhere: it is what TestRealBundles believes.
func TestRealBundlesAgree(t *testing.T) {
	index := realIndex(t)
	type archive struct {
		Path   string
		SHA256 string
	}
	var releases struct {
		Releases []struct {
			Series string
			TarXZ  archive `json:"tar_xz"`
			Tgz    archive
		}
	}
	var signers struct {
		Series []struct {
			Series   string
			Sigstore Facts
		}
	}
	for name, v := range map[string]any{"../releases.json": &releases, "../signers.json": &signers} {
		if err := json.Unmarshal(realFile(t, name), v); err != nil {
			t.Fatal(err)
		}
	}
	who := map[string]Identity{}
	for _, s := range signers.Series {
		who[s.Series] = Identity{Email: s.Sigstore.Identity, Issuer: s.Sigstore.Issuer}
	}
	want := map[string]realBundle{}
	for _, r := range releases.Releases {
		for _, a := range []archive{r.TarXZ, r.Tgz} {
			id := who[r.Series]
			want[filepath.Base(a.Path)] = realBundle{SHA256: a.SHA256, Identity: id.Email, Issuer: id.Issuer}
		}
	}
	for _, b := range index {
		w := want[strings.TrimSuffix(b.File, ".sigstore")]
		if b.SHA256 != w.SHA256 || b.who() != w.who() {
			t.Errorf("%s: %s by %v, elsewhere %s by %v", b.File, b.SHA256, b.who(), w.SHA256, w.who())
		}
	}
}

func TestRealRefused(t *testing.T) {
	thomas := Identity{Email: "thomas@python.org", Issuer: "https://accounts.google.com"}
	hugo := Identity{Email: "hugo@python.org", Issuer: "https://github.com/login/oauth"}
	const (
		xz    = "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640" // 3.13.5
		tgz   = "e6190f52699b534ee203d9f417bdbca05a92f23e35c19c691a50ed2942835385" // 3.13.5
		oldXZ = "fa8a2e12c5e620b09f53e65bcd87550d2e5a1e2e04bf8ba991dcc55113876397" // 3.12.5
		old   = "38dc4e2c261d49c661196066edbfb70fdb16be4a79cc8220c224dfeb5636d405" // 3.12.5
	)
	root := embedded(t)
	for _, tt := range []struct {
		name, file, digest string
		who                Identity
		want               *RefusedError // nil when it is to be believed
		detail             string
	}{
		{"as it is", "bundles/Python-3.13.5.tar.xz.sigstore", xz, thomas, nil, ""},
		{"of the .tgz", "bundles/Python-3.13.5.tgz.sigstore", xz, thomas,
			&RefusedError{Reason: OtherFile, Want: xz, Got: tgz}, ""},
		{"of another release", "bundles/Python-3.12.5.tar.xz.sigstore", xz, thomas,
			&RefusedError{Reason: OtherFile, Want: xz, Got: oldXZ}, ""},
		{"other signer", "bundles/Python-3.13.5.tar.xz.sigstore", xz, hugo,
			&RefusedError{Reason: OtherIdentity, Want: hugo.Email, Got: thomas.Email}, ""},
		{"other issuer", "bundles/Python-3.13.5.tar.xz.sigstore", xz, Identity{thomas.Email, hugo.Issuer},
			&RefusedError{Reason: OtherIssuer, Want: hugo.Issuer, Got: thomas.Issuer}, ""},
		// How it was before its checkpoint was added, under the same name.
		{"without checkpoint", "Python-3.12.5.tgz.sigstore.pre-migration", old, thomas,
			&RefusedError{Reason: NotLogged}, "inclusion proof without a signed checkpoint"},
		{"with checkpoint", "bundles/Python-3.12.5.tgz.sigstore", old, thomas, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, err := Verify(root, realFile(t, tt.file), tt.digest, tt.who)
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if facts != nil {
				t.Errorf("refused, but facts are %+v", *facts)
			}
			checkRefused(t, err, tt.want, tt.detail)
		})
	}
}

// TestRealReplaced: the release that was uploaded twice has two good signatures.
// The one does not pass for the other.
func TestRealReplaced(t *testing.T) {
	root := embedded(t)
	for _, b := range realIndex(t) {
		if !strings.HasPrefix(b.File, "Python-3.14.0a5.") {
			continue
		}
		first := realFile(t, "replaced/"+b.File+".2025-02-11")
		_, err := Verify(root, first, b.SHA256, b.who())
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason != OtherFile {
			t.Fatalf("%s: %v, want it refused as of another file", b.File, err)
		}
		if _, err := Verify(root, first, refused.Got, b.who()); err != nil {
			t.Errorf("%s: %v", b.File, err)
		}
	}
}

// TestRealFlipped changes bytes of a real bundle. No change may alter what it
// proves, and nearly all are refused; the others are in labels on which nothing
// depends (the kind of the entry, the name of the log under its checkpoint) and
// in the bits that Base64 leaves over.
func TestRealFlipped(t *testing.T) {
	root := embedded(t)
	data := realFile(t, "bundles/Python-3.13.5.tar.xz.sigstore")
	who := Identity{Email: "thomas@python.org", Issuer: "https://accounts.google.com"}
	const digest = "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640"
	want, err := Verify(root, data, digest, who)
	if err != nil {
		t.Fatal(err)
	}
	const step = 17 // all of them take a while
	reasons := map[Reason]int{}
	passed := 0
	for i := 0; i < len(data); i += step {
		data[i] ^= 1
		facts, err := Verify(root, data, digest, who)
		var refused *RefusedError
		switch {
		case errors.As(err, &refused):
			reasons[refused.Reason]++
		case err != nil:
			t.Errorf("byte %d: %v", i, err)
		case *facts != *want:
			t.Errorf("byte %d: facts are %+v", i, *facts)
		default:
			passed++
		}
		data[i] ^= 1
	}
	t.Logf("refused: %v, without meaning: %d", reasons, passed)
	if most := len(data) / step / 50; passed > most {
		t.Errorf("%d changes made no difference, more than %d", passed, most)
	}
}

func TestRealRoot(t *testing.T) {
	want, err := ParseRoot(realFile(t, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !sameKeys(embedded(t), want) {
		t.Error("what is compiled in is not the trusted root of the public instance")
	}
}

// sameKeys says whether two roots trust the same.
func sameKeys(a, b *Root) bool {
	return reflect.DeepEqual(a.material.FulcioCertificateAuthorities(), b.material.FulcioCertificateAuthorities()) &&
		reflect.DeepEqual(a.material.CTLogs(), b.material.CTLogs()) &&
		reflect.DeepEqual(a.material.RekorLogs(), b.material.RekorLogs()) &&
		reflect.DeepEqual(a.material.TimestampingAuthorities(), b.material.TimestampingAuthorities())
}
