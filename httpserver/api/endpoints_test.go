package api_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

// TestEnvelopeEndpoints sends each request to both paths of its endpoint. want
// is what the answer of /api/v1 must hold; that of the short path must say the
// same in its own shape.
func TestEnvelopeEndpoints(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.json": `{"x":1,"deep":{"k":1,"l":2}}`, "bad.json": "{", "list.json": "[]"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "s.json")
	if err := os.WriteFile(outside, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.json")); err != nil {
		t.Fatal(err)
	}
	setUp := [][2]string{
		{"/session/create", `{"worker_id":"w","resource_type":"fake","session_config":{"start":10},"custom_name":"--my vm!__"}`},
	}
	cases := []struct {
		name, path, short, body string
		status                  int
		want                    string
	}{
		{"tool without session", "/execute", "", `{"worker_id":"w","action":"calc:add","params":{"a":1,"b":2}}`, 200,
			`{"code":0,"message":"success","data":{"n":3},"meta":{"tool":"calc:add","execution_time_ms":"*","resource_type":"calc","session_id":null,"trace_id":"*","ran":true,"temporary_session":"absent"}}`},
		{"temporary session", "/execute", "", `{"worker_id":"w2","action":"fake:incr"}`, 200,
			`{"code":0,"data":{"n":1},"meta":{"tool":"fake:incr","resource_type":"fake","session_id":"*","temporary_session":true}}`},
		{"explicit session", "/execute", "", `{"worker_id":"w","action":"fake-incr","params":{}}`, 200,
			`{"code":0,"data":{"n":"*"},"meta":{"tool":"fake:incr","session_id":"*","temporary_session":"absent"}}`},
		{"label", "/execute", "", `{"worker_id":"w","action":"web:search"}`, 200, `{"meta":{"resource_type":"websearch"}}`},
		{"number as worker, string as timeout, own trace id", "/execute", "", `{"worker_id":7,"action":"echo","timeout":"5","trace_id":"t-1","params":{"a":[1]}}`, 200,
			`{"data":{"a":[1]},"meta":{"trace_id":"t-1"}}`},
		{"function name of a model", "/execute", "", `{"worker_id":"w","action":"mcp-srv-1-read-file"}`, 200, `{"data":{"n":7},"meta":{"tool":"mcp:srv-1.read.file"}}`},
		{"unknown tool", "/execute", "", `{"worker_id":"w","action":"fake:inc"}`, 400,
			`{"code":4002,"message":"Tool not found: fake:inc","data":{"action":"fake:inc"},"meta":{"tool":"fake:inc","did_you_mean":["fake:incr"],"ran":false}}`},
		{"ambiguous tool", "/execute", "", `{"worker_id":"w","action":"search"}`, 400,
			`{"code":4002,"message":"Ambiguous tool name 'search'. Multiple matches: ['rag:search', 'web:search']. Please use full name with prefix.","data":{"candidates":["rag:search","web:search"]},"meta":{"tool":"search"}}`},
		{"missing argument", "/execute", "", `{"worker_id":"w","action":"calc:add","params":{"a":1}}`, 400, `{"code":4003,"meta":{"ran":false}}`},
		{"ill-typed argument", "/execute", "", `{"worker_id":"w","action":"calc:add","params":{"a":1,"b":"x"}}`, 400, `{"code":4004}`},
		{"time limit", "/execute", "", `{"worker_id":"w","action":"wait","timeout_ms":5}`, 500, `{"code":5006,"message":"Tool execution timed out after 0.005s","data":{"timeout":0.005,"partial":{"n":1}}}`},
		{"panic", "/execute", "", `{"worker_id":"w","action":"crash"}`, 500, `{"code":5005,"data":{"traceback":"absent"}}`},
		{"result that is no JSON", "/execute", "", `{"worker_id":"w","action":"nan"}`, 500, `{"code":"*","data":{}}`},
		{"error of the tool", "/execute", "", `{"worker_id":"w","action":"refuse","params":{"code":4000}}`, 400, `{"code":4000,"message":"refused","data":{"limit":3},"meta":{"ran":true}}`},
		{"code of the tool's own", "/execute", "", `{"worker_id":"w","action":"refuse","params":{"code":1002}}`, 500, `{"code":1002}`},
		{"unauthorized by the tool", "/execute", "", `{"worker_id":"w","action":"refuse","params":{"code":4010}}`, 401, `{"code":4010}`},
		{"forbidden", "/execute", "", `{"worker_id":"w","action":"refuse","params":{"code":4011}}`, 403, `{"code":4011}`},
		{"conflict", "/execute", "", `{"worker_id":"w","action":"refuse","params":{"code":4012}}`, 409, `{"code":4012}`},
		{"too large", "/execute", "", `{"worker_id":"w","action":"refuse","params":{"code":4013}}`, 413, `{"code":4013}`},
		{"busy", "/execute", "", `{"worker_id":"w","action":"refuse","params":{"code":5014}}`, 503, `{"code":5014}`},
		{"stopping", "/execute", "", `{"worker_id":"w","action":"refuse","params":{"code":5015}}`, 503, `{"code":5015}`},
		{"no action", "/execute", "", `{"worker_id":"w"}`, 422, `{"code":4003,"data":{},"message":"*","detail":[{"loc":["body","action"],"msg":"field required","type":"value_error.missing"}]}`},
		{"empty worker", "/execute", "", `{"worker_id":"","action":"echo"}`, 400, `{"code":4003,"message":"worker_id is required","data":{}}`},
		{"null params", "/execute", "", `{"worker_id":"w","action":"echo","params":null}`, 422, `{"code":4004,"detail":[{"loc":["body","params"],"type":"type_error.none.not_allowed"}]}`},
		{"several faults", "/execute", "", `{"worker_id":[],"params":[],"timeout":"x"}`, 422,
			`{"detail":[{"loc":["body","worker_id"],"type":"type_error.str"},{"loc":["body","action"]},{"loc":["body","params"],"type":"type_error.dict"},{"loc":["body","timeout"],"type":"type_error.integer"}]}`},
		{"bad JSON", "/execute", "", `{"worker_id":`, 422, `{"code":4002,"detail":[{"loc":["body",12],"type":"value_error.jsondecode"}]}`},
		{"array as body", "/session/list", "", `[]`, 422, `{"code":4004,"detail":[{"loc":["body"],"type":"type_error.dict"}]}`},
		{"not UTF-8", "/execute", "", "{\"worker_id\":\"\xff\",\"action\":\"echo\"}", 422, `{"code":4002}`},

		{"batch, all well", "/execute/batch", "", `{"worker_id":"b","actions":[{"action":"calc:add","params":{"a":1,"b":1}},{"action":"fake:incr"}]}`, 200,
			`{"code":0,"message":"success","data":{"results":[{"DATA":{"n":2}},{"DATA":{"n":1}}],"total":2,"executed":2,"success_count":2},"meta":{"tool":"batch:execute","resource_type":null,"session_id":null}}`},
		{"batch, empty", "/execute/batch", "", `{"worker_id":"b","actions":[]}`, 200, `{"code":0,"data":{"results":[],"total":0,"executed":0,"success_count":0}}`},
		{"batch, stopped", "/execute/batch", "", `{"worker_id":"b","actions":[{"action":"echo"},{"action":"nope"},{"action":"echo"}]}`, 207,
			`{"code":5010,"message":"1 out of 2 actions failed","data":{"total":3,"executed":2,"success_count":1}}`},
		{"batch, not stopped", "/execute/batch", "", `{"worker_id":"b","stop_on_error":false,"actions":[{"action":"nope"},{"action":"echo"}]}`, 207,
			`{"code":5010,"message":"1 out of 2 actions failed","data":{"total":2,"executed":2,"success_count":1}}`},
		{"batch, nothing worked", "/execute/batch", "", `{"worker_id":"b","actions":[{"action":"nope"},{"action":"echo"}]}`, 500,
			`{"code":5009,"message":"All actions failed","data":{"total":2,"executed":1,"success_count":0}}`},
		{"batch, one result is no JSON", "/execute/batch", "", `{"worker_id":"b","parallel":true,"actions":[{"action":"nan"},{"action":"echo","params":{"x":1}}]}`, 207,
			`{"data":{"results":[{"DATA":{}},{"DATA":{"x":1}}],"success_count":1}}`},
		{"batch, null params", "/execute/batch", "", `{"worker_id":"b","parallel":true,"actions":[{"action":"echo","params":null},{"action":"echo"}]}`, 207,
			`{"code":5010,"data":{"results":[{"CODE":5005},{"CODE":0}],"executed":2,"success_count":1}}`},
		{"batch, bad item stops it", "/execute/batch", "", `{"worker_id":"b","actions":[{"action":"echo"},{"action":"echo","params":1},{"action":"echo"}]}`, 207,
			`{"data":{"results":[{"CODE":0},{"CODE":4004}],"total":3,"executed":2,"success_count":1}}`},
		{"batch, item is no object", "/execute/batch", "", `{"worker_id":"b","actions":[1]}`, 422, `{"detail":[{"loc":["body","actions",0],"type":"type_error.dict"}]}`},
		{"batch, no actions", "/execute/batch", "", `{"worker_id":"b"}`, 422, `{"detail":[{"loc":["body","actions"],"msg":"field required"}]}`},
		{"batch, too many", "/execute/batch", "", `{"worker_id":"b","actions":[{},{},{},{},{},{}]}`, 413, `{"code":4013}`},

		{"create, exists", "/session/create", "", `{"worker_id":"w","resource_type":"fake"}`, 200,
			`{"code":0,"data":{"status":"exists","session_status":"active","session_id":"*","session_name":"fake_w_001_my-vm","resource_type":"fake"},"meta":{"tool":"session:create","resource_type":"session","session_id":"*"},"session_id":"*","session_name":"fake_w_001_my-vm"}`},
		{"create, exists with another policy", "/session/create", "", `{"worker_id":"w","resource_type":"fake","confinement":{"limits":{"processes":3}}}`, 409,
			`{"code":4012,"data":{"session_id":"*","resource_type":"fake","session_status":"error","error":"*"}}`},
		{"create, exists and no level", "/session/create", "", `{"worker_id":"w","resource_type":"fake","session_config":{"confinement":{"level":"nonsense"}}}`, 400, `{"code":4000}`},
		{"init, exists with another policy", "/init/resource", "", `{"worker_id":"w","resource_type":"fake","init_config":{"confinement":{"limits":{"processes":3}}}}`, 409, `{"code":4012}`},
		{"init batch, exists with another policy", "/init/batch", "", `{"worker_id":"w","resource_configs":{"fake":{"confinement":{"egress":{"allow":["example.com:443"]}}}}}`, 500,
			`{"code":5009,"data":{"results":{"fake":{"status":"error","error":"*"}},"success_count":0}}`},
		{"create, bad ttl", "/session/create", "", `{"worker_id":"x","resource_type":"fake","ttl":-7}`, 422, `{"code":4000}`},
		{"create, init fails", "/session/create", "", `{"worker_id":"x","resource_type":"fake","session_config":{"fail":"no disk"}}`, 500,
			`{"code":4007,"message":"Session creation failed","data":{"session_status":"error","error":"no disk","resource_type":"fake"}}`},
		{"create, nothing given", "/session/create", "", `{"worker_id":""}`, 400, `{"code":4002,"message":"worker_id and resource_type required","data":{"worker_id":"","resource_type":null}}`},
		{"create, bad policy", "/session/create", "", `{"worker_id":"x","resource_type":"fake","session_config":{"confinement":{"limits":{"memory":"much"}}}}`, 422, `{"code":4004}`},
		{"create, ill-typed", "/session/create", "", `{"worker_id":{},"resource_type":"fake"}`, 422, `{"code":4004,"detail":"*"}`},
		{"destroy, none", "/session/destroy", "", `{"worker_id":"nobody","resource_type":"fake"}`, 404, `{"code":4007,"message":"No session found for fake","data":{"resource_type":"fake"}}`},
		{"destroy, nothing given", "/session/destroy", "", `{}`, 400, `{"code":4002,"message":"worker_id and resource_type required","data":{"worker_id":null,"resource_type":null},"meta":{"tool":"session:destroy","resource_type":"session"}}`},
		{"list", "/session/list", "", `{"worker_id":"w"}`, 200,
			`{"data":{"worker_id":"w","count":1,"sessions":[{"resource_type":"fake","session_id":"*","session_name":"*","status":"active","auto_created":false,"created_at":"*","last_activity":"*","expires_at":"*"}]},"meta":{"tool":"session:list"}}`},
		{"list, nothing given", "/session/list", "", `{}`, 400, `{"code":4002,"message":"worker_id required","data":{"worker_id":null}}`},
		{"refresh one", "/session/refresh", "", `{"worker_id":"w","resource_type":"fake"}`, 200,
			`{"data":{"message":"Session refreshed for fake","resource_type":"fake","session_id":"*","expires_at":"*"},"meta":{"tool":"session:refresh"},"expires_at":"*"}`},
		{"refresh none", "/session/refresh", "", `{"worker_id":"w","resource_type":"vm"}`, 404, `{"code":4007,"message":"No session found for vm","data":{"resource_type":"vm"}}`},
		{"refresh all", "/session/refresh", "", `{"worker_id":"w"}`, 200,
			`{"data":{"message":"Refreshed 1 sessions","worker_id":"w","refreshed_count":1,"details":{"fake":{"status":"refreshed","expires_at":"*"}}},"refreshed_count":1}`},
		{"refresh all of nobody", "/session/refresh", "", `{"worker_id":"nobody"}`, 200, `{"data":{"refreshed_count":0,"details":{}}}`},
		{"refresh, nothing given", "/session/refresh", "", `{}`, 400, `{"code":4002,"message":"worker_id required"}`},

		{"heartbeat", "/lifecycle/heartbeat", "/heartbeat", `{"worker_id":"w"}`, 200, `{"data":{"worker_id":"w","active_sessions":["fake"],"timestamp":"*"},"meta":{"tool":"session:heartbeat","resource_type":"session"}}`},
		{"heartbeat, nothing given", "/lifecycle/heartbeat", "/heartbeat", `{}`, 400, `{"code":4002,"message":"worker_id required"}`},
		{"status", "/lifecycle/status", "/status", `{"worker_id":"w"}`, 200,
			`{"data":{"worker_id":"w","active_resources":["fake"],"sessions":{"fake":{"session_id":"*","status":"active","created_at":"*","last_activity":"*"}},"tools_available":12},"meta":{"tool":"session:status"}}`},
		{"status, nothing given", "/lifecycle/status", "/status", `{}`, 400, `{"code":4002}`},
		{"disconnect of nobody", "/worker/disconnect", "", `{"worker_id":"nobody"}`, 200, `{"data":{"worker_id":"nobody","sessions_cleaned":0},"meta":{"tool":"session:disconnect"}}`},
		{"disconnect, nothing given", "/worker/disconnect", "", `{}`, 422, `{"detail":[{"loc":["body","worker_id"],"msg":"field required"}]}`},

		{"init, found", "/init/resource", "", `{"worker_id":"w","resource_type":"fake"}`, 200, `{"data":{"session_id":"*","resource_type":"fake","session_status":"active","error":null},"meta":{"tool":"init:resource"}}`},
		{"init, fails", "/init/resource", "", `{"worker_id":"x","resource_type":"fake","init_config":{"fail":"no disk"}}`, 500,
			`{"code":4007,"message":"Resource initialization failed","data":{"resource_type":"fake","session_status":"error","error":"no disk"}}`},
		{"init, nothing given", "/init/resource", "", `{}`, 422, `{"detail":[{"loc":["body","worker_id"]},{"loc":["body","resource_type"]}]}`},
		{"init batch", "/init/batch", "", `{"worker_id":"i","resource_configs":{"fake":{"content":{"start":3}},"web":{}}}`, 200,
			`{"data":{"worker_id":"i","results":{"fake":{"status":"success","session_id":"*","session_status":"active","error":null},"web":{"status":"success"}},"total":2,"success_count":2},"meta":{"tool":"init:batch"}}`},
		{"init batch, empty", "/init/batch", "", `{"worker_id":"i"}`, 200, `{"code":0,"data":{"results":{},"total":0,"success_count":0}}`},
		{"init batch, some", "/init/batch", "", `{"worker_id":"j","resource_configs":{"fake":{"fail":"no"},"web":{}}}`, 207,
			`{"code":5010,"message":"1 out of 2 resources failed","data":{"results":{"fake":{"status":"error","session_status":"error","error":"no"}},"success_count":1}}`},
		{"init batch, none", "/init/batch", "", `{"worker_id":"k","resource_configs":{"fake":{"fail":"no"}}}`, 500, `{"code":5009,"message":"All resources failed to initialize"}`},
		{"init batch, ill-typed", "/init/batch", "", `{"worker_id":"k","resource_configs":{"fake":1}}`, 422, `{"detail":[{"loc":["body","resource_configs","fake"]}]}`},

		{"fork of nobody", "/workspace/fork", "", `{"worker_id":"nobody","to":"new"}`, 404,
			`{"code":4007,"message":"worker \"nobody\" has no workspace to fork","data":{},"meta":{"tool":"workspace:fork","resource_type":null,"ran":false}}`},
		{"fork to a worker that exists", "/workspace/fork", "", `{"worker_id":"nobody","to":"w"}`, 409, `{"code":4012}`},
		{"fork, nothing given", "/workspace/fork", "", `{}`, 422, `{"detail":[{"loc":["body","worker_id"]},{"loc":["body","to"]}]}`},
		{"fork, ill-typed", "/workspace/fork", "", `{"worker_id":"w","to":"new","snapshot":[]}`, 422, `{"code":4004,"detail":[{"loc":["body","snapshot"]}]}`},

		{"from-config", "/init/from-config", "", `{"worker_id":"w","config_path":"` + dir + `/a.json","override_params":{"deep":{"k":9},"new":1}}`, 200,
			`{"data":{"config_loaded":"` + dir + `/a.json","config":{"x":1,"deep":{"k":9,"l":2},"new":"absent"}},"meta":{"tool":"init:from_config"}}`},
		{"from-config, relative", "/init/from-config", "", `{"worker_id":"w","config_path":"a.json"}`, 200, `{"data":{"config":{"x":1}}}`},
		{"from-config, missing", "/init/from-config", "", `{"worker_id":"w","config_path":"` + dir + `/none.json"}`, 404, `{"code":4002,"message":"Config file not found: ` + dir + `/none.json","data":{"config_path":"` + dir + `/none.json"}}`},
		{"from-config, not JSON", "/init/from-config", "", `{"worker_id":"w","config_path":"bad.json"}`, 500, `{"code":5005,"data":{"config_path":"bad.json"}}`},
		{"from-config, a list", "/init/from-config", "", `{"worker_id":"w","config_path":"list.json"}`, 500, `{"code":5005}`},
		{"from-config, outside", "/init/from-config", "", `{"worker_id":"w","config_path":"` + outside + `"}`, 403, `{"code":4002,"data":{"config_path":"` + outside + `"}}`},
		{"from-config, outside and absent", "/init/from-config", "", `{"worker_id":"w","config_path":"/no/such/file"}`, 403, `{"code":4002}`},
		{"from-config, climbing", "/init/from-config", "", `{"worker_id":"w","config_path":"../../etc/passwd"}`, 403, `{"code":4002}`},
		{"from-config, through a link", "/init/from-config", "", `{"worker_id":"w","config_path":"link.json"}`, 403, `{"code":4002}`},
		{"from-config, the directory", "/init/from-config", "", `{"worker_id":"w","config_path":"` + dir + `"}`, 403, `{"code":4002}`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// In a bubble no limit passes but where everything waits for it.
			synctest.Test(t, func(t *testing.T) {
				h := newHandler(t, newSandbox(t, nil), api.Options{ConfigDirs: []string{dir}, MaxBatch: 5})
				for _, s := range setUp {
					if a := send(t, h, "POST", s[0], s[1]); a.status != 200 {
						t.Fatalf("set-up: %s", a.raw)
					}
				}
				wantBothShapes(t, h, tc.path, tc.short, tc.body, tc.status, tc.want)
			})
		})
	}
}

// wantBothShapes sends body to both paths of an endpoint. short is the older one,
// "" if only a prefix tells them apart.
func wantBothShapes(t *testing.T, h http.Handler, path, short, body string, status int, want string) {
	t.Helper()
	long := strings.NewReplacer("DATA", "data", "CODE", "code").Replace(want)
	a := send(t, h, "POST", "/api/v1"+path, body)
	wantAnswer(t, a, status, long)
	meta, _ := a.body["meta"].(map[string]any)
	for _, key := range []string{"tool", "execution_time_ms", "resource_type", "session_id", "trace_id", "ran"} {
		if _, there := meta[key]; !there {
			t.Errorf("meta.%s is absent: %s", key, a.raw)
		}
	}

	if short == "" {
		short = path
	}
	b := send(t, h, "POST", short, body)
	wantAnswer(t, b, status, shortened(t, want))
	if got, want := b.body["success"], b.body["code"] == 0.0; got != want {
		t.Errorf("success = %v with code %v", got, b.body["code"])
	}
	if _, failed := b.body["error"]; failed == (b.body["code"] == 0.0) {
		t.Errorf("error with code %v: %v", b.body["code"], b.raw)
	}
	for _, key := range []string{"success", "data", "tool", "resource_type", "session_id", "execution_time_ms", "temporary_session", "trace_id"} {
		if _, there := b.body[key]; !there {
			t.Errorf("%s is absent: %s", key, b.raw)
		}
	}
}

// shortened turns what is wanted of the newer shape into the older one.
func shortened(t *testing.T, want string) string {
	t.Helper()
	var w map[string]any
	if err := json.Unmarshal([]byte(strings.NewReplacer("DATA", "data", "CODE", "code").Replace(want)), &w); err != nil {
		t.Fatal(err)
	}
	if meta, ok := w["meta"].(map[string]any); ok {
		delete(w, "meta")
		for k, v := range meta {
			switch {
			case k == "tool":
				s := v.(string)
				w[k] = s[strings.LastIndex(s, ":")+1:]
			case k == "temporary_session" && v == "absent":
				w[k] = false
			default:
				w[k] = v
			}
		}
	}
	if w["code"] != nil && w["code"] != 0.0 && w["message"] != nil {
		w["error"] = w["message"]
	}
	b, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPlainEndpoints(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, method string
		paths        string
		body         string
		status       int
		want         string
	}{
		{"health", "GET", "/health", "", 200, `{"status":"healthy","timestamp":"*","version":"1.2","title":"Sandbox HTTP Service"}`},
		{"ready", "GET", "/ready", "", 200, `{"status":"ready","tools_count":12,"active_workers":1,"total_sessions":1}`},
		{"one tool", "GET", "/api/v1/tools/fake:incr/schema /tools/incr/schema", "", 200,
			`{"name":"incr","full_name":"fake:incr","resource_type":"fake","stateless":false,"description":"Counts.","parameters":[{"name":"by","type":"integer","description":"how much to add","required":false}],"input_schema":{"type":"object"}}`},
		{"variants of a name", "GET", "/api/v1/tools/fake-incr/schema /tools/fake_incr/schema", "", 200, `{"full_name":"fake:incr"}`},
		{"unknown tool", "GET", "/api/v1/tools/a:b/schema /tools/a:b/schema", "", 404, `{"status":"error","message":"Tool not found: a:b"}`},
		{"ambiguous tool", "GET", "/api/v1/tools/search/schema", "", 404, `{"status":"error","message":"Tool not found: search"}`},
		{"flag that is none", "GET", "/api/v1/tools?include_hidden=maybe /tools?include_hidden=", "", 422, `{"code":4004,"detail":[{"loc":["query","include_hidden"]}]}`},
		{"some tools", "GET", "/api/v1/tools?allowed=fake-*&allowed=echo /tools?allowed=fake:*&allowed=echo", "", 200, `{"count":2,"tools":[{"full_name":"fake:incr"},{"full_name":"echo","resource_type":null,"stateless":true}]}`},
		{"schemas as a list", "GET", "/api/v1/tools/schemas?allowed=calc-* /tools/schemas?allowed=calc_add&format=list", "", 200,
			`{"count":1,"schemas":[{"name":"calc-add","description":"Adds.","parameters":[{"name":"a","type":"integer","description":"first summand","required":true},{"name":"b","type":"integer","required":true},{"name":"tags","type":"array","array_type":"string","required":false}]}]}`},
		{"schemas for a model", "GET", "/api/v1/tools/schemas?format=openai&allowed=calc:add,mcp:srv-1.*", "", 200,
			`{"count":2,"schemas":[{"type":"function","function":{"name":"calc-add","parameters":{"type":"object","properties":{"a":{"type":"integer"},"seed_path":"absent"},"required":["a","b"]}}},{"function":{"name":"mcp-srv-1-read-file"}}]}`},
		{"schemas in another form", "GET", "/api/v1/tools/schemas?format=xml", "", 422, `{"detail":[{"loc":["query","format"]}]}`},
		{"warm-up of one", "POST", "/api/v1/warmup /warmup", `{"backends":["rag"]}`, 200, `{"status":"success","results":{"rag":true},"summary":{"total":3},"errors":"absent"}`},
		{"warm-up by a string", "POST", "/api/v1/warmup /warmup", `{"backends":"rag"}`, 200, `{"status":"success","results":{"rag":true}}`},
		{"warm-up of an unknown one", "POST", "/api/v1/warmup /warmup", `{"backends":["rag","x"]}`, 200,
			`{"status":"partial_error","results":{"rag":true,"x":false},"errors":{"x":"Backend not found: x. Available backends: ['fake', 'rag', 'broken']"}}`},
		{"warm-up of all", "POST", "/api/v1/warmup /warmup", "", 200, `{"status":"partial_error","results":{"fake":true,"rag":true,"broken":false},"errors":{"broken":"Warmup exception: no index"},"summary":{"total":3,"warmed_up":2,"pending":1}}`},
		{"warm-up, null", "POST", "/api/v1/warmup", `{"backends":null}`, 200, `{"results":{"fake":true,"rag":true,"broken":false}}`},
		{"warm-up, ill-typed", "POST", "/api/v1/warmup", `{"backends":{}}`, 422, `{"code":4004}`},
		{"warm-up status", "GET", "/api/v1/warmup/status /warmup/status", "", 200, `{"backends":{"rag":{"loaded":true,"warmed_up":"*"}},"summary":{"total":3}}`},
		{"server status", "GET", "/api/v1/status", "", 200, `{"code":0,"data":{"tools":12,"workers":1,"sessions":1,"backends":[{"name":"fake","sessions":1},{"name":"rag"},{"name":"broken"}]}}`},
		{"shutdown that is not offered", "POST", "/api/v1/server/shutdown /shutdown", "", 403, `{"code":4011}`},
		{"unknown path", "GET", "/api/v2 /nothing /tools/x/y/schema /api/v1/tools//schema", "", 404, `{"detail":"Not Found"}`},
		{"wrong method", "GET", "/execute /api/v1/server/shutdown", "", 405, `{"detail":"Method Not Allowed"}`},
		{"wrong method on a listing", "POST", "/tools /health", "{}", 405, `{"detail":"Method Not Allowed"}`},
		{"no CORS", "OPTIONS", "/execute", "", 405, `{"detail":"Method Not Allowed"}`},
	}
	synctest.Test(t, func(t *testing.T) { // the sandbox's state is told only if it is known in good time
		h := newHandler(t, newSandbox(t, nil), api.Options{Version: "1.2"})
		send(t, h, "POST", "/session/create", `{"worker_id":"w","resource_type":"fake"}`)
		for _, tc := range cases {
			for path := range strings.FieldsSeq(tc.paths) {
				if wantAnswer(t, send(t, h, tc.method, path, tc.body), tc.status, tc.want); t.Failed() {
					t.Fatalf("%s: %s %s", tc.name, tc.method, path)
				}
			}
		}
	})
}

func TestHiddenToolsAreListedOnRequest(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	for flag, want := range map[string]float64{"": 11, "?include_hidden=False": 11, "?include_hidden=True": 12, "?include_hidden=YES": 12, "?include_hidden=0": 11} {
		if a := send(t, h, "GET", "/api/v1/tools"+flag, ""); a.body["count"] != want {
			t.Errorf("tools%s: count %v, want %v", flag, a.body["count"], want)
		}
	}
}

func TestTrailingSlashIsRedirected(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	for path, want := range map[string]string{
		"/health/":                            "/health",
		"/api/v1/tools/?include_hidden=True":  "/api/v1/tools?include_hidden=True",
		"/api/v1/tools/fake:incr/schema/":     "/api/v1/tools/fake:incr/schema",
		"/execute/":                           "/execute",
		"http://localhost:18890//evil.com/x/": "",
	} {
		a := send(t, h, "GET", path, "")
		if want == "" {
			if a.status != http.StatusNotFound {
				t.Errorf("%s: status %d", path, a.status)
			}
			continue
		}
		if a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != want {
			t.Errorf("%s: %d to %q, want 307 to %q", path, a.status, a.header.Get("Location"), want)
		}
	}
}

func TestWorkerHeaderIsTheDefault(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	a := send(t, h, "POST", "/api/v1/session/list", `{}`, "X-Worker-ID: w-head")
	wantAnswer(t, a, 200, `{"data":{"worker_id":"w-head"}}`)
	a = send(t, h, "POST", "/api/v1/session/list", `{"worker_id":"w-body"}`, "X-Worker-ID: w-head")
	wantAnswer(t, a, 200, `{"data":{"worker_id":"w-body"}}`)
	a = send(t, h, "POST", "/api/v1/execute", `{"action":"echo"}`, "X-Worker-ID: w-head")
	wantAnswer(t, a, 200, `{"code":0}`)
}

func TestSessionLife(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	id := regexp.MustCompile(`^fake_w3-----x_00\d(_my-vm)?_[0-9a-f]{8}$`)
	steps := []struct {
		path, body string
		status     int
		want       string
	}{
		{"/session/create", `{"worker_id":"w3/..$ x","resource_type":"fake","custom_name":"--my vm!__"}`, 200,
			`{"data":{"session_name":"fake_w3-----x_001_my-vm","session_status":"active","error":null,"compatibility_mode":"absent","status":"absent"},"session_name":"fake_w3-----x_001_my-vm"}`},
		{"/session/destroy", `{"worker_id":"w3/..$ x","resource_type":"fake"}`, 200, `{"data":{"message":"Session destroyed for fake","session_name":"fake_w3-----x_001_my-vm"},"meta":{"ran":true,"session":{"status":"ended"}}}`},
		{"/session/create", `{"worker_id":"w3/..$ x","resource_type":"fake","ttl":-1}`, 200, `{"session_name":"fake_w3-----x_002"}`},
		{"/session/list", `{"worker_id":"w3/..$ x"}`, 200, `{"data":{"sessions":[{"expires_at":null}]}}`},
		{"/worker/disconnect", `{"worker_id":"w3/..$ x"}`, 200, `{"data":{"sessions_cleaned":1}}`},
		{"/session/create", `{"worker_id":"w","resource_type":"web"}`, 200,
			`{"data":{"session_status":"active","compatibility_mode":true,"compatibility_message":"Resource type 'web' does not require session initialization. This session was created for compatibility but no initialization was performed."}}`},
	}
	for _, s := range steps {
		a := send(t, h, "POST", "/api/v1"+s.path, s.body)
		wantAnswer(t, a, s.status, s.want)
		if got, ok := a.body["session_id"].(string); ok && strings.Contains(s.body, "w3") && !id.MatchString(got) {
			t.Errorf("session_id %q", got)
		}
	}
}

func TestTimesAreNaiveAndHaveMicroseconds(t *testing.T) {
	t.Parallel()
	h := newHandler(t, newSandbox(t, nil), api.Options{})
	a := send(t, h, "POST", "/api/v1/session/create", `{"worker_id":"w","resource_type":"fake"}`)
	session := a.body["meta"].(map[string]any)["session"].(map[string]any)
	pattern := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$`)
	for _, key := range []string{"created_at", "last_activity", "expires_at"} {
		if s, _ := session[key].(string); !pattern.MatchString(s) {
			t.Errorf("%s = %q", key, s)
		}
	}
}

var _ sandbox.Executor = (*sandbox.Sandbox)(nil)
