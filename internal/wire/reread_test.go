package wire_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/agentflow-go/sandbox/internal/wire"
	"github.com/google/go-cmp/cmp"
)

// TestWhatIsCheckedIsDecoded: encoding/json merges members that are there twice
// and ignores case, the validator does neither.
func TestWhatIsCheckedIsDecoded(t *testing.T) {
	t.Parallel()
	type point struct {
		X int `json:"x"`
		Y int `json:"y"`
	}
	type place struct {
		N     int     `json:"n"`
		At    point   `json:"at"`
		Trail []point `json:"trail"`
	}
	const number = `{"type":"integer","maximum":10}`
	const object = `{"type":"object","properties":{"x":` + number + `,"y":` + number + `}}`
	parsed, err := wire.ParseSchema(json.RawMessage(`{"type":"object","properties":{
		"n":` + number + `,"at":` + object + `,"trail":{"type":"array","items":` + object + `}}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := parsed.DecodedInto(reflect.TypeFor[place]())
	for name, tt := range map[string]struct {
		in    string
		want  place
		fault string // pointer; "": none
	}{
		"plain":                     {`{"n":1,"at":{"x":2}}`, place{N: 1, At: point{X: 2}}, ""},
		"colons in strings":         {`{"n":1,"more":"a\":\\\":b"}`, place{N: 1}, ""},
		"twice":                     {`{"n":99,"n":1}`, place{N: 1}, ""},
		"twice, null last":          {`{"n":99,"n":null}`, place{}, ""},
		"twice, objects":            {`{"at":{"x":99},"at":{"y":1}}`, place{At: point{Y: 1}}, ""},
		"twice, in an array":        {`{"trail":[{"x":99,"x":1}]}`, place{Trail: []point{{X: 1}}}, ""},
		"twice, escaped":            {`{"n":99,"\u006e":1}`, place{N: 1}, ""},
		"other case":                {`{"N":99}`, place{}, "/N"},
		"other case beside":         {`{"n":1,"N":99}`, place{}, "/N"},
		"other case in an object":   {`{"at":{"X":99}}`, place{}, "/at/X"},
		"other case in an array":    {`{"trail":[{},{"Y":99}]}`, place{}, "/trail/1/Y"},
		"unknown, which it permits": {`{"n":1,"colour":99}`, place{N: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := s.Check([]byte(tt.in))
			if tt.fault != "" {
				if fe, ok := errors.AsType[*wire.FieldError](err); !ok || fe.Pointer != tt.fault || fe.Kind != wire.Unknown {
					t.Errorf("Check(%s) = %v, want an unknown field at %s", tt.in, err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got place
			if err := wire.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: mismatch (-want +got):\n%s", tt.in, diff)
			}
		})
	}
	if raw, err := parsed.Check([]byte(`{"N":99}`)); err != nil { // goes to no struct
		t.Errorf("Check = %s, %v, want no error", raw, err)
	}
	if raw, err := s.CheckKnown([]byte(`{"n":1,"N":99,"colour":2}`)); err != nil || string(raw) != `{"colour":2,"n":1}` {
		t.Errorf("CheckKnown = %s, %v, want the misspelt field dropped", raw, err)
	}
}

func TestPlainIntegers(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":2.0,"b":[1e3,-0.0,2.5]}`: `{"a":2,"b":[1000,0,2.5]}`,
		`{"a":9007199254740993.0}`:     `{"a":9007199254740993.0}`, // no float64
		`{"a":1e999,"b":"2.0"}`:        `{"a":1e999,"b":"2.0"}`,
		`{"a":12345678901234567890}`:   `{"a":12345678901234567890}`,
	} {
		if got, err := wire.PlainIntegers([]byte(in)); err != nil || string(got) != want {
			t.Errorf("PlainIntegers(%s) = %s, %v, want %s", in, got, err, want)
		}
	}
	if got, err := wire.PlainIntegers([]byte(`{} {}`)); err == nil {
		t.Errorf("PlainIntegers of two values = %s, want an error", got)
	}
}

func TestNumberBeyondFloat64(t *testing.T) {
	t.Parallel()
	s, err := wire.InferSchema(reflect.TypeFor[inner]())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Check([]byte(`{"n":1,"rate":1e999}`))
	if want := "the input: expected numbers in the range of a float64, got number 1e999"; err == nil || err.Error() != want {
		t.Errorf("Check = %v, want %q", err, want)
	}
}
