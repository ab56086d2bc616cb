package api_test

import (
	"testing"
	"testing/synctest"

	"github.com/agentflow-go/sandbox/httpserver/api"
)

func TestAMisspeltSessionTypeIsAnsweredWithTheNearest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // what is near is told only if it is known in good time
		h := newHandler(t, newSandbox(t, nil), api.Options{})
		a := send(t, h, "POST", "/api/v1/session/create", `{"worker_id":"w","resource_type":"fkae"}`)
		wantAnswer(t, a, 200, `{"code":0,"data":{"compatibility_mode":true},"meta":{"did_you_mean":["fake"],"ran":true}}`)
		a = send(t, h, "POST", "/api/v1/session/create", `{"worker_id":"w","resource_type":"elsewhere"}`)
		wantAnswer(t, a, 200, `{"meta":{"did_you_mean":"absent"}}`)
	})
}

func TestAToolIsDescribedByTheNamesOfTheSchemas(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	list := send(t, h, "GET", "/api/v1/tools/schemas", "")
	schemas, _ := list.body["schemas"].([]any)
	if len(schemas) == 0 {
		t.Fatalf("no schemas: %s", list.raw)
	}
	for _, s := range schemas {
		m := s.(map[string]any)
		a := send(t, h, "GET", "/api/v1/tools/"+m["name"].(string)+"/schema", "")
		if a.status != 200 || a.body["full_name"] != m["full_name"] {
			t.Errorf("schema of %v: %d %v, want that of %v", m["name"], a.status, a.body["full_name"], m["full_name"])
		}
	}
}

func TestStatusListsWhatIsNotEnforced(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	wantAnswer(t, send(t, h, "GET", "/api/v1/status", ""), 200, `{"data":{"unenforced":[]}}`)
}
