package wire_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/agentflow-go/sandbox/internal/wire"
	"github.com/google/go-cmp/cmp"
)

type mode string

// JSONSchema lists the permitted values.
func (mode) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type":"string","enum":["fast","safe"]}`)
}

type inner struct {
	N    int     `json:"n"`
	Rate float64 `json:"rate,omitzero"`
}

type input struct {
	Text  string            `json:"text" jsonschema:"what to say"`
	Mode  mode              `json:"mode,omitzero"`
	List  []inner           `json:"list,omitzero"`
	Ptr   *int              `json:"ptr,omitzero"`
	Data  []byte            `json:"data,omitzero"`
	Env   map[string]string `json:"env,omitzero"`
	Any   json.RawMessage   `json:"any,omitzero"`
	inner                   // unexported: its fields are promoted
}

func TestInferSchema(t *testing.T) {
	t.Parallel()
	s, err := wire.InferSchema(reflect.TypeFor[input]())
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(s.JSON(), &got); err != nil {
		t.Fatal(err)
	}
	const text = `{"type":"object","required":["text","n"],"additionalProperties":false,"properties":{
		"text":{"type":"string","description":"what to say"},
		"mode":{"type":"string","enum":["fast","safe"]},
		"list":{"type":"array","items":{"type":"object","required":["n"],"additionalProperties":false,
			"properties":{"n":{"type":"integer"},"rate":{"type":"number"}}}},
		"ptr":{"type":"integer"},
		"data":{"type":"string","contentEncoding":"base64"},
		"env":{"type":"object","additionalProperties":{"type":"string"}},
		"any":true,
		"n":{"type":"integer"},"rate":{"type":"number"}}}`
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema mismatch (-want +got):\n%s", diff)
	}
}

func TestNullForOptionalIsAbsent(t *testing.T) {
	t.Parallel()
	s, err := wire.InferSchema(reflect.TypeFor[input]())
	if err != nil {
		t.Fatal(err)
	}
	in := `{"text":"a","n":1,"mode":null,"list":[{"n":1,"rate":null}],"ptr":null,"data":null,"env":null,"any":null}`
	if _, err := s.Check([]byte(in)); err != nil {
		t.Errorf("Check: %v", err)
	}
	_, err = s.Check([]byte(`{"text":"a","n":1,"list":[{"n":null}]}`))
	want := &wire.FieldError{Pointer: "/list/0/n", Want: "integer", Got: "null"}
	if fe, _ := errors.AsType[*wire.FieldError](err); !reflect.DeepEqual(fe, want) {
		t.Errorf("Check = %+v, want %+v", fe, want)
	}
}

func TestDecodeStrict(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, err string }{
		{`{"text":"a"}`, ""},
		{``, ""},
		{`null`, ""},
		{`{"txet":"a"}`, `unknown field "txet"`},
		{`{"list":[{"n":"x"}]}`, "/list/n: expected integer in the range of int, got string"},
		{`{} {}`, "more than one JSON value"},
		{`{`, "unexpected EOF"},
	}
	for _, tt := range tests {
		var v input
		got := ""
		if err := wire.DecodeStrict([]byte(tt.in), &v); err != nil {
			got = err.Error()
		}
		if got != tt.err {
			t.Errorf("DecodeStrict(%s): %q, want %q", tt.in, got, tt.err)
		}
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   any
		want string // "": an error
	}{
		{map[string]string{"a": "<&>"}, `{"a":"<&>"}`},
		{json.RawMessage(`{"a":1}`), `{"a":1}`},
		{json.RawMessage(nil), `null`},
		{json.RawMessage(`{`), ""},
		{make(chan int), ""},
	}
	for _, tt := range tests {
		got, err := wire.Marshal(tt.in)
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("Marshal(%v) = %s, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

// FuzzCheck holds that what Check accepts decodes, what it refuses is refused
// with a reason, and that dropping unknown fields leaves known ones alone.
func FuzzCheck(f *testing.F) {
	s, err := wire.InferSchema(reflect.TypeFor[input]())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		``, `{}`, `{"text":"a","n":1}`, `{"text":1}`, `{"TEXT":"a"}`, `{"text":"a","n":1,"list":[{"n":1.5}]}`, `[`,
		`{"text":"a","n":1,"data":"aGk="}`, `{"text":"a","n":1e400}`, `{"text":"a","n":1,"mode":"odd"}`, "{\"text\":\"\xff\",\"n\":1}",
		`{"text":"a","text":"b","n":1}`, `{"text":"a","n":9007199254740993}`, `{"text":"a","n":1,"extra":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v, again input
		_, err := s.Check(data)
		if err != nil && err.Error() == "" {
			t.Fatal("refused without a reason")
		}
		if err == nil {
			// What passes the schema may still be no Go value: a number that
			// an int cannot hold, text that is no base64. It must not panic.
			if err := wire.Unmarshal(data, &v); err == nil && !wire.Empty(data) {
				var strict input
				if err := wire.DecodeStrict(data, &strict); err != nil {
					t.Errorf("Check accepts %s, which a strict decoder refuses: %v", data, err)
				}
			}
		}
		known, err2 := s.CheckKnown(data)
		if err == nil && err2 != nil {
			t.Errorf("CheckKnown refuses %s, which Check accepts: %v", data, err2)
		}
		if err2 == nil {
			if _, err := s.Check(known); err != nil {
				t.Errorf("CheckKnown(%s) = %s, which Check refuses: %v", data, known, err)
			}
			_ = wire.Unmarshal(known, &again)
		}
	})
}
