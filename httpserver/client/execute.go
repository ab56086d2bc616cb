package client

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// callBody is a call on the wire. Timeout is what the protocol has, whole
// seconds; TimeoutMS is exact, for servers of ours.
type callBody struct {
	WorkerID  string          `json:"worker_id,omitempty"`
	Action    string          `json:"action"`
	Params    json.RawMessage `json:"params,omitempty"`
	Timeout   int64           `json:"timeout,omitempty"`
	TimeoutMS int64           `json:"timeout_ms,omitempty"`
	TraceID   string          `json:"trace_id,omitempty"`
}

func bodyOf(req sandbox.Request) (callBody, error) {
	b := callBody{WorkerID: req.Worker, Action: req.Tool, TraceID: req.TraceID}
	if !wire.Empty(req.Params) {
		params, err := wire.Marshal(req.Params)
		if err != nil {
			return b, sandbox.Errorf(sandbox.ErrInvalidType, "params of %s: %w", req.Tool, err)
		}
		b.Params = params
	}
	if req.Timeout > 0 {
		b.Timeout = int64(math.Ceil(req.Timeout.Seconds()))
		b.TimeoutMS = max(req.Timeout.Milliseconds(), 1)
	}
	return b, nil
}

// limitError is the cause of a context whose call got no answer in time.
type limitError struct{ limit time.Duration }

func (e *limitError) Error() string { return "no answer within the time limit" }

func (e *limitError) error(err error) error {
	seconds := e.limit.Seconds()
	return &sandbox.Error{
		Code:    sandbox.ErrTimeout,
		Message: "Tool execution timed out after " + strconv.FormatFloat(seconds, 'f', -1, 64) + "s",
		Data:    map[string]float64{"timeout": seconds},
		Ran:     true, // for all that is known here
		Err:     err,
	}
}

// Execute runs one tool on the server; see [sandbox.Executor]. With a Timeout
// the wait for the answer ends too, Options.Grace later.
func (c *Client) Execute(ctx context.Context, req sandbox.Request) sandbox.Response {
	begin := time.Now()
	failed := func(err error) sandbox.Response {
		return sandbox.Response{Err: err, Meta: sandbox.Meta{
			Tool: req.Tool, TraceID: req.TraceID, Elapsed: time.Since(begin), Ran: mayHaveRun(err),
		}}
	}
	body, err := bodyOf(req)
	if err != nil {
		return failed(err)
	}
	raw, err := wire.Marshal(body)
	if err != nil {
		return failed(sandbox.Errorf(sandbox.ErrInvalidInput, "encoding the request: %w", err))
	}
	if req.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, req.Timeout+c.o.Grace, &limitError{req.Timeout})
		defer cancel()
	}
	a, err := c.send(ctx, &message{method: http.MethodPost, path: "/api/v1/execute", body: raw, key: c.key(), onEvent: req.OnEvent})
	if a == nil || a.Code == nil {
		if err == nil {
			err = noAnswer("code")
		}
		return failed(err)
	}
	return a.response()
}

// key returns the Idempotency-Key of a new call, where they are used.
func (c *Client) key() string {
	if c.o.IdempotencyKeys {
		return newKey()
	}
	return ""
}

func mayHaveRun(err error) bool {
	e, ok := asError(err)
	return ok && e.Ran
}

// batchBody is a batch on the wire. Actions may name workers of their own.
type batchBody struct {
	WorkerID    string     `json:"worker_id"`
	Actions     []callBody `json:"actions"`
	Parallel    bool       `json:"parallel"`
	StopOnError bool       `json:"stop_on_error"`
	Limit       int        `json:"limit,omitempty"`
}

// ExecuteBatch runs requests on the server; see [sandbox.Executor].
func (c *Client) ExecuteBatch(ctx context.Context, reqs []sandbox.Request, o sandbox.BatchOptions) sandbox.BatchResponse {
	if len(reqs) == 0 {
		return sandbox.BatchResponse{Results: []sandbox.Response{}}
	}
	body := batchBody{WorkerID: reqs[0].Worker, Parallel: o.Parallel, StopOnError: o.StopOnError, Limit: o.Limit}
	for _, req := range reqs {
		action, err := bodyOf(req)
		// What a batch cannot carry goes one by one: events, and params or
		// workers that fail on their own.
		if err != nil || req.OnEvent != nil || req.Worker == "" {
			return sandbox.RunBatch(ctx, reqs, o, c.Execute)
		}
		body.Actions = append(body.Actions, action)
	}
	raw, err := wire.Marshal(body)
	if err != nil {
		return noBatch(reqs, sandbox.Errorf(sandbox.ErrInvalidInput, "encoding the batch: %w", err))
	}
	a, err := c.send(ctx, &message{method: http.MethodPost, path: "/api/v1/execute/batch", body: raw, key: c.key()})
	if a == nil {
		return noBatch(reqs, err)
	}
	var data struct {
		Results   []envelope `json:"results"`
		Total     int        `json:"total"`
		Executed  int        `json:"executed"`
		Succeeded int        `json:"success_count"`
	}
	if derr := a.decodeData(&data); derr != nil || data.Results == nil {
		if err == nil {
			err = derr
		}
		return noBatch(reqs, err)
	}
	out := sandbox.BatchResponse{Total: data.Total, Executed: data.Executed, Succeeded: data.Succeeded}
	for i := range data.Results {
		out.Results = append(out.Results, data.Results[i].response())
	}
	return out
}

// noBatch is the outcome of a batch that failed as a whole.
func noBatch(reqs []sandbox.Request, err error) sandbox.BatchResponse {
	if err == nil {
		err = noAnswer("results")
	}
	out := sandbox.BatchResponse{Total: len(reqs)}
	for _, req := range reqs {
		out.Results = append(out.Results, sandbox.Response{Err: err,
			Meta: sandbox.Meta{Tool: req.Tool, TraceID: req.TraceID, Ran: mayHaveRun(err)}})
	}
	if mayHaveRun(err) {
		out.Executed = len(reqs)
	}
	return out
}
