package code

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
)

func TestListsOfAnAnswerAreBounded(t *testing.T) {
	frame := append([]byte(`{"id":1,"outputs":[`), bytes.Repeat([]byte("{},"), 1<<20)...)
	frame = append(frame, `{}],"variables":null,"code":3}`...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var a answer
	if err := json.Unmarshal(frame, &a); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if len(a.Outputs) != maxItems || a.Variables != nil || a.Code != 3 {
		t.Errorf("%d outputs, %d variables, code %d; want %d, none and 3", len(a.Outputs), len(a.Variables), a.Code, maxItems)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 1<<20 {
		t.Errorf("a list of %d bytes took %d bytes of memory", len(frame), made)
	}
	for _, in := range []string{`{"outputs":5}`, `{"outputs":{"a":1}}`, `{"variables":[5]}`, `{"variables":"x"}`} {
		if err := json.Unmarshal([]byte(in), &a); err == nil {
			t.Errorf("%s was taken for an answer", in)
		}
	}
	if err := json.Unmarshal([]byte(`{"outputs":"x"}`), &a); !errors.Is(err, errFrame) {
		t.Errorf("a text for a list: %v", err)
	}
}
