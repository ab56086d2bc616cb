package expand

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var vars = map[string]string{
	"A": "1", "EMPTY": "", "NESTED": "${A}", "WITH SPACE": "s", "HALF": "${", "END": "A}", "ü": "u",
}

func lookup(name string) (string, bool) {
	v, ok := vars[name]
	return v, ok
}

func TestString(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in, want string
		unset          []string
	}{
		{"plain", "no placeholder", "no placeholder", nil},
		{"set", "${A}", "1", nil},
		{"several", "x${A}y${A}z", "x1y1z", nil},
		{"set but empty", "[${EMPTY}]", "[]", nil},
		{"set but empty, with default", "[${EMPTY:-d}]", "[]", nil},
		{"set, with default", "${A:-d}", "1", nil},
		{"unset, with default", "${NO:-d}", "d", nil},
		{"unset, with empty default", "[${NO:-}]", "[]", nil},
		{"default with specials", "${NO:-http://h:1/${x}", "http://h:1/${x", nil},
		{"unset", "a${NO}b", "a${NO}b", []string{"NO"}},
		{"unset twice", "${NO}${NO}${ALSO}", "${NO}${NO}${ALSO}", []string{"NO", "ALSO"}},
		{"a colon without dash is no placeholder", "${A:b}", "${A:b}", nil},
		{"no name", "${}${:-x}", "${}${:-x}", nil},
		{"no end", "${A", "${A", nil},
		{"without braces", "$A $${A}", "$A $1", nil},
		{"a value is not expanded again", "${NESTED}", "${A}", nil},
		{"values do not join into a placeholder", "${HALF}${END}", "${A}", nil},
		{"any name", "${WITH SPACE}${ü}", "su", nil},
		{"a name up to the first brace", "${A${A}", "${A${A}", []string{"A${A"}},
		{"lines", "${A}\n${NO:-\n}", "1\n\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, unset := String(tt.in, lookup)
			if got != tt.want || !slices.Equal(unset, tt.unset) {
				t.Errorf("String(%q) = %q, %q; want %q, %q", tt.in, got, unset, tt.want, tt.unset)
			}
		})
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	in := map[string]any{
		"${A}": "${A}",
		"n":    1.5, "null": nil, "b": true,
		"deep": map[string]any{"list": []any{"x", "${NO}", map[string]any{"a.b": "${ALSO}-${NO}"}}},
	}
	got, unset := Value(in, lookup, "apis")
	want := map[string]any{
		"${A}": "1",
		"n":    1.5, "null": nil, "b": true,
		"deep": map[string]any{"list": []any{"x", "${NO}", map[string]any{"a.b": "${ALSO}-${NO}"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Value (-want +got):\n%s", diff)
	}
	var keys []string
	for _, u := range unset {
		keys = append(keys, u.Key()+" "+u.Name)
	}
	slices.Sort(keys)
	wantKeys := []string{`apis.deep.list.1 NO`, `apis.deep.list.2."a.b" ALSO`, `apis.deep.list.2."a.b" NO`}
	if diff := cmp.Diff(wantKeys, keys); diff != "" {
		t.Errorf("unset (-want +got):\n%s", diff)
	}
	if got, _ := Value("${A}", lookup); got != "1" {
		t.Errorf("Value of a string = %v, want 1", got)
	}
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"${A}", "x${NO:-d}y", "${A:b}", "${", "${A${A}}", "${NO}${NO:-}", "$${A}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, unset := String(s, lookup)
		// Without any variable set a second pass finds the same ones missing,
		// unless a default was written that holds the start of another.
		none := func(string) (string, bool) { return "", false }
		once, missing := String(s, none)
		if !strings.Contains(s, ":-") {
			if once != s {
				t.Errorf("String(%q) = %q with nothing set, want it unchanged", s, once)
			}
			if twice, again := String(once, none); twice != once || !slices.Equal(missing, again) {
				t.Errorf("String(%q) is not stable: %q, then %q", s, once, twice)
			}
		}
		for _, name := range unset {
			if _, set := lookup(name); set || name == "" || strings.ContainsAny(name, "}:") {
				t.Errorf("String(%q) reports %q as unset", s, name)
			}
			if !strings.Contains(got, "${"+name+"}") {
				t.Errorf("String(%q) = %q lost the placeholder of %q", s, got, name)
			}
		}
	})
}
