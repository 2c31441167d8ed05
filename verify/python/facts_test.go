package python

import (
	"encoding/json"
	"reflect"
	"testing"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"default_scheme": "posix_prefix", "schemes": {"posix_prefix": {"stdlib": "/lib"}}}`))
	f.Add([]byte(`{"schemes": {"": {}}, "probes": {"ssl": {"values": {"a": "b"}, "lacks": [], "authorities": {"loaded": 1}}, "zlib": null}, "libraries": []}`))
	f.Add([]byte(`{"schemes": {"": {}}} {}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := decode(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(facts)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(again); err != nil || !reflect.DeepEqual(facts, back) {
			t.Errorf("%s became %s: %v", data, again, err)
		}
	})
}
