package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/agentflow-go/sandbox"
)

// initView is the data of an initialised resource, or one that is not.
type initView struct {
	SessionID     *string `json:"session_id"`
	ResourceType  string  `json:"resource_type"`
	SessionStatus string  `json:"session_status"`
	Error         *string `json:"error"`
}

// initResource opens the worker's session in a backend, or refreshes the one
// that is there.
func initResource(ctx context.Context, q *request) reply {
	worker := q.typedWorker()
	backend := q.body.required("resource_type")
	config := q.body.object("init_config", false)
	if refused := q.refused(worker); refused != nil {
		return *refused
	}
	s, err := q.getOrCreate(ctx, worker, backend, config)
	if err != nil {
		r := notMade("Resource initialization failed", err)
		v := initView{ResourceType: backend, SessionStatus: "error", Error: sessionFault(err)}
		if r.meta.session != "" {
			v.SessionID = &r.meta.session
		}
		r.data = encode(v)
		return r
	}
	r := success(initView{SessionID: &s.ID, ResourceType: s.Backend, SessionStatus: string(s.Status)})
	r.meta, r.lift = sessionMeta(s), liftSession(s)
	return r
}

// getOrCreate is what the init endpoints do: unlike session/create, finding a
// session counts as using it.
func (q *request) getOrCreate(ctx context.Context, worker, backend string, config json.RawMessage) (sandbox.SessionInfo, error) {
	f := &fields{}
	o := sandbox.SessionOptions{Compatible: true}
	if o.Config, o.Confinement = f.confinement(config); f.faults != nil {
		return sandbox.SessionInfo{}, sandbox.Errorf(sandbox.ErrInvalidInput, "%s", f.refused().message)
	}
	s, err := q.ex.CreateSession(ctx, worker, backend, o)
	if err != nil || !s.Existing {
		return s, err
	}
	return q.ex.RefreshSession(ctx, worker, backend)
}

// initBatchView is what init/batch tells about one resource.
type initBatchView struct {
	Status        string  `json:"status"`
	SessionID     *string `json:"session_id"`
	SessionStatus string  `json:"session_status"`
	Error         *string `json:"error"`
}

// initBatch initialises several resources, one after the other in the order of
// the body.
func initBatch(ctx context.Context, q *request) reply {
	worker := q.typedWorker()
	var configs []member
	if raw := q.body.object("resource_configs", false); raw != nil {
		configs = split(raw)
	}
	for i, c := range configs {
		if c.value[0] != '{' {
			q.body.fault(sandbox.ErrInvalidType, "value is not a valid dict", "type_error.dict", "resource_configs", c.key)
			continue
		}
		if content, there := contentOf(c.value); there {
			if content[0] != '{' {
				q.body.fault(sandbox.ErrInvalidType, "value is not a valid dict", "type_error.dict", "resource_configs", c.key, "content")
			}
			configs[i].value = content
		}
	}
	if refused := q.refused(worker); refused != nil {
		return *refused
	}
	if len(configs) > q.o.MaxBatch {
		return *refusal(sandbox.ErrTooLarge, fmt.Sprintf("at most %d resources at once", q.o.MaxBatch))
	}
	results := map[string]initBatchView{}
	good := 0
	for _, c := range configs {
		s, err := q.getOrCreate(ctx, worker, c.key, c.value)
		if err != nil {
			v := initBatchView{Status: "error", SessionStatus: "error", Error: sessionFault(err)}
			if e, ok := asError(err); ok && e.Session != "" {
				v.SessionID = &e.Session
			}
			results[c.key] = v
			continue
		}
		good++
		results[c.key] = initBatchView{Status: "success", SessionID: &s.ID, SessionStatus: string(s.Status)}
	}
	total := len(configs)
	r := success(struct {
		WorkerID     string                   `json:"worker_id"`
		Results      map[string]initBatchView `json:"results"`
		Total        int                      `json:"total"`
		SuccessCount int                      `json:"success_count"`
	}{worker, results, total, good})
	switch {
	case good == total:
	case good == 0:
		r.status, r.code, r.message = http.StatusInternalServerError, sandbox.ErrAllFailed, "All resources failed to initialize"
	default:
		r.status, r.code = http.StatusMultiStatus, sandbox.ErrPartialFailure
		r.message = fmt.Sprintf("%d out of %d resources failed", total-good, total)
	}
	return r
}

// contentOf returns the content member of a resource's entry. Without one the
// entry itself is the configuration.
func contentOf(raw json.RawMessage) (json.RawMessage, bool) {
	return (&fields{members: split(raw)}).member("content")
}
