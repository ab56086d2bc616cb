package api_test

import (
	"testing"

	"github.com/agentflow-go/sandbox/httpserver/api"
)

func TestBatchItemsKeepTheirTraceIDs(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	// The first two cannot be run, the last is.
	a := send(t, h, "POST", "/api/v1/execute/batch", `{"worker_id":"w","trace_id":"all","stop_on_error":false,"actions":[
		{"action":"echo","params":1,"trace_id":"own"}, {"action":"echo","params":null}, {"action":"echo"}]}`)
	wantAnswer(t, a, 207, `{"data":{"results":[
		{"code":4004,"meta":{"trace_id":"own"}}, {"code":5005,"meta":{"trace_id":"all"}}, {"code":0,"meta":{"trace_id":"all"}}]}}`)
}
