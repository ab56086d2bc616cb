package api

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// FuzzSplit compares split with a decoder.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a" : [ {"b":"}"} ] , "c":"\\","d":"\"","a":null}`, `{"\u0061":-1.5e3,"":{}}`,
		`{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"11":1,"12":1,"13":1,"14":1,"15":1,"16":1,"17":1,"18":1,"3":2,"18":3}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want map[string]json.RawMessage
		if !utf8.Valid(raw) || json.Unmarshal(raw, &want) != nil || want == nil { // as parseBody makes sure
			return
		}
		got := split(raw)
		if len(got) != len(want) {
			t.Fatalf("split(%q): %d members, want %d", raw, len(got), len(want))
		}
		for _, m := range got {
			if !bytes.Equal(m.value, want[m.key]) {
				t.Fatalf("split(%q)[%q] = %q, want %q", raw, m.key, m.value, want[m.key])
			}
		}
	})
}
