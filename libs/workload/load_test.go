package workload_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foreshadow/foreshadow/libs/workload"
)

type file struct {
	Kafka struct {
		Brokers []string        `yaml:"brokers"`
		Wait    time.Duration   `yaml:"wait"`
		Secret  workload.Secret `yaml:"secret"`
	} `yaml:"kafka"`
	Workloads []workload.Workload `yaml:"workloads"`
}

const valid = `
kafka: {brokers: [a:1], wait: 2s, secret: s3cret}
workloads:
  - name: shop
    slo: {quantile: 0.95, latency: 100ms, error_ratio: 0.01}
    production: {platform: local, group: shop, process: {command: [shop], ready_path: /healthz}}
    shadow: {platform: local, group: shop-shadow, process: {command: [shop], ready_path: /healthz}}
    instances: {min: 2, max: 8}
`

func TestDecodeFillsDefaultsAndEnvironmentWins(t *testing.T) {
	t.Parallel()
	var f file
	env := []string{
		"FORESHADOW_KAFKA_BROKERS=b:1, c:2", "FORESHADOW_KAFKA_WAIT=5s", "FORESHADOW_PG_BIN=/x",
		"FORESHADOW_KAFKA_PORT=tcp://10.0.0.1:9092", "FORESHADOW_KAFKA_SERVICE_HOST=10.0.0.1", // as Kubernetes sets them
	}
	if err := workload.Decode("f.yaml", []byte(valid), env, &f); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b:1", "c:2"}, f.Kafka.Brokers); diff != "" {
		t.Errorf("brokers (-want +got):\n%s", diff)
	}
	if f.Kafka.Wait != 5*time.Second {
		t.Errorf("wait = %v, want the environment's 5s", f.Kafka.Wait)
	}
	w := f.Workloads[0]
	if w.Instances != (workload.Limits{Min: 2, Max: 8}) || w.Policy.Risk != workload.Default().Policy.Risk {
		t.Errorf("got %+v, want the file's limits and the default risk", w)
	}
	if err := w.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
}

func TestDecodeNamesEveryFaultWithItsLine(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		yaml string
		env  []string
		want []string
	}{
		"unknown keys, all at once": {
			yaml: "kafka: {broker: [a]}\nworkloads:\n  - name: x\n    slo: {latncy: 1s}\nzzzzzz: 1\n",
			want: []string{`f.yaml:1: unknown key "kafka.broker"; did you mean "brokers"?`,
				`f.yaml:4: unknown key "workloads[0].slo.latncy"; did you mean "latency"?`, `f.yaml:5: unknown key "zzzzzz"; there are kafka, workloads`},
		},
		"given twice": {yaml: "kafka:\n  wait: 1s\n  wait: 2s\n", want: []string{"f.yaml:3:", "wait"}},
		"wrong type":  {yaml: "kafka:\n  wait: soon\n", want: []string{`f.yaml:2: kafka.wait: want a duration such as 200ms, 15s or 1h, got "soon"`}},
		"wrong types, all at once": {
			yaml: "kafka:\n  wait: 200\n  brokers: a:1\nworkloads:\n  - {name: [x], instances: [1, 2], policy: {risk: low},\n     guardrails: {resize: maybe, max_step_up: 1.5}}\n  - x\n",
			want: []string{`f.yaml:2: kafka.wait: want a duration such as 200ms, 15s or 1h, got "200"`, `f.yaml:3: kafka.brokers: want a list such as [a, b], got "a:1"`,
				"f.yaml:5: workloads[0].name: want a text, got a list", "f.yaml:5: workloads[0].instances: want keys with values, such as {key: value}, got a list",
				`f.yaml:5: workloads[0].policy.risk: want a number, got "low"`, `f.yaml:6: workloads[0].guardrails.resize: want true or false, got "maybe"`,
				`f.yaml:6: workloads[0].guardrails.max_step_up: want a whole number, got "1.5"`,
				`f.yaml:7: workloads[1]: want keys with values, such as {key: value}, got "x"`},
		},
		"a list for the file": {yaml: "- a\n", want: []string{"f.yaml:1: the file: want keys with values"}},
		"a second document":   {yaml: "kafka: {wait: 1s}\n---\nkafka: {wait: 2s}\n", want: []string{"f.yaml:2: a second document begins"}},
		"not YAML":            {yaml: "kafka: [\n", want: []string{"f.yaml:1: "}},
		"indented wrongly":    {yaml: "workloads:\n  - name: shop\n    slo: {}\n   instances: {}\n", want: []string{"f.yaml:4: did not find"}},
		"a tab":               {yaml: "kafka:\n  wait: 1s\n\tsecret: x\n", want: []string{"f.yaml:3: a tab indents it, want spaces"}},
		"bad environment":     {yaml: "{}", env: []string{"FORESHADOW_KAFKA_WAIT=1"}, want: []string{`FORESHADOW_KAFKA_WAIT: want a duration such as 15s, got "1"`}},
		"misspelt environment": {
			yaml: "{}", env: []string{"FORESHADOW_KAFKA_BROKER=a:1", "FORESHADOW_KAFAK_WAIT=1s"},
			want: []string{"FORESHADOW_KAFKA_BROKER: no key is named so; did you mean FORESHADOW_KAFKA_BROKERS?", "did you mean FORESHADOW_KAFKA_WAIT?"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f file
			err := workload.Decode("f.yaml", []byte(tc.yaml), tc.env, &f)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestLocateNamesLineOrVariable(t *testing.T) {
	t.Parallel()
	text := []byte(valid + "    calendar: &c {events: [{name: a},\n      {name: b}]}\n  - calendar: *c\n")
	faults := errors.New(`workloads[0].slo.latency: a
workloads[0].policy.risk: b
workloads[0].calendar.events[1].start: c
workloads[1].calendar.events[1].start: d
workloads[7].name: e
kafka.brokers[0] "x": f
kafka.wait: g
zone: h
Nothing is named: i`)
	want := `f.yaml:5: workloads[0].slo.latency: a
f.yaml:4: workloads[0].policy.risk: b
f.yaml:10: workloads[0].calendar.events[1].start: c
f.yaml:10: workloads[1].calendar.events[1].start: d
f.yaml:3: workloads[7].name: e
FORESHADOW_KAFKA_BROKERS: kafka.brokers[0] "x": f
f.yaml:2: kafka.wait: g
f.yaml: zone: h
f.yaml: Nothing is named: i`
	got := workload.Locate("f.yaml", text, []string{"FORESHADOW_KAFKA_BROKERS=x", "FORESHADOW_KAFKA=y"}, faults)
	if diff := cmp.Diff(want, got.Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := workload.Locate("f.yaml", text, nil, nil); err != nil {
		t.Errorf("no fault became %v", err)
	}
}

func TestDecodeMergesAnchors(t *testing.T) {
	t.Parallel()
	text := strings.Replace(valid, "process: {command: [shop], ready_path: /healthz}}", "process: &p {command: [shop], ready_path: /healthz}}", 1)
	text = strings.Replace(text, "shop-shadow, process: {command: [shop], ready_path: /healthz}", "shop-shadow, process: {<<: *p, initial: 3}", 1)
	var f file
	if err := workload.Decode("f.yaml", []byte(text), nil, &f); err != nil {
		t.Fatal(err)
	}
	if p := f.Workloads[0].Shadow.Process; p.ReadyPath != "/healthz" || p.Initial != 3 {
		t.Errorf("got %+v, want production's process with 3 instances", p)
	}
}

func TestValidateNamesTheKey(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*workload.Workload){
		"name":                                 func(w *workload.Workload) { w.Name = "Shop 1" },
		"slo: is missing":                      func(w *workload.Workload) { w.SLO = workload.SLO{} },
		"slo.quantile":                         func(w *workload.Workload) { w.SLO.Quantile = 95 },
		"slo.latency":                          func(w *workload.Workload) { w.SLO.Latency = 0 },
		"slo.error_ratio":                      func(w *workload.Workload) { w.SLO.ErrorRatio = 1 },
		"instances.min":                        func(w *workload.Workload) { w.Instances.Min = -1 },
		"instances.max":                        func(w *workload.Workload) { w.Instances.Max = 1 },
		"shadow.group":                         func(w *workload.Workload) { w.Shadow.Group = w.Production.Group },
		"production.platform":                  func(w *workload.Workload) { w.Production.Platform = "moon" },
		"production.process.ready_path":        func(w *workload.Workload) { w.Production.Process.ReadyPath = "x" },
		"production.process.initial":           func(w *workload.Workload) { w.Production.Process.Initial = w.Instances.Max + 1 },
		"policy.kind":                          func(w *workload.Workload) { w.Policy.Kind = "psychic" },
		"policy.risk":                          func(w *workload.Workload) { w.Policy.Risk = 0 },
		"policy.budget":                        func(w *workload.Workload) { w.Policy.Budget = -1 },
		"policy.size: want":                    func(w *workload.Workload) { w.Policy.Size = "huge" },
		"policy.size: cheapest needs":          func(w *workload.Workload) { w.Policy.Size = workload.Cheapest },
		"guardrails.mode":                      func(w *workload.Workload) { w.Guardrails.Mode = "yolo" },
		"guardrails.max_step_up":               func(w *workload.Workload) { w.Guardrails.MaxStepUp = -3 },
		"tap.sample_ratio":                     func(w *workload.Workload) { w.Tap.SampleRatio = 1.5 },
		"tap.allow_headers: Cookie":            func(w *workload.Workload) { w.Tap.AllowHeaders = []string{"Cookie"} },
		"tap.allow_headers: X-My-Access-Token": func(w *workload.Workload) { w.Tap.AllowHeaders = []string{"X-My-Access-Token"} },
		"tap.methods":                          func(w *workload.Workload) { w.Tap.Methods = []string{"get"} },
		"tap.allow_headers: X-Auth-User":       func(w *workload.Workload) { w.Tap.AllowHeaders = []string{"X-Auth-User"} },
		"tap.answer_shapes_per_second":         func(w *workload.Workload) { w.Tap.AnswerShapes = math.NaN() },
		"tap.max_strata":                       func(w *workload.Workload) { w.Tap.MaxStrata = 0 },
		"tap.max_words":                        func(w *workload.Workload) { w.Tap.MaxWords = 0 },
		"tap.redact_patterns[0]":               func(w *workload.Workload) { w.Tap.RedactPatterns = []string{"("} },
		"tap.redact_patterns[1]":               func(w *workload.Workload) { w.Tap.RedactPatterns = []string{"a+", "a*"} },
		"tap.redact_json[0]":                   func(w *workload.Workload) { w.Tap.RedactJSON = []string{"a..b"} },
		"tap.redact_json[1]":                   func(w *workload.Workload) { w.Tap.RedactJSON = []string{"*", "a[x]"} },
		"tap.rules[0].route: want":             func(w *workload.Workload) { w.Tap.Rules = []workload.Rule{{Route: "x"}} },
		"tap.rules[0].route: **":               func(w *workload.Workload) { w.Tap.Rules = []workload.Rule{{Route: "/**/x"}} },
		"tap.rules[0].methods":                 func(w *workload.Workload) { w.Tap.Rules = []workload.Rule{{Route: "/", Methods: []string{"post"}}} },
		"tap.rules[0].sample_ratio":            func(w *workload.Workload) { r := 2.0; w.Tap.Rules = []workload.Rule{{Route: "/", SampleRatio: &r}} },
		"tap.rules[0].body: want":              func(w *workload.Workload) { w.Tap.Rules = []workload.Rule{{Route: "/", Body: "half"}} },
		"tap.rules[0].body_prefix_bytes":       func(w *workload.Workload) { w.Tap.Rules = []workload.Rule{{Route: "/", Body: "prefix"}} },
		"tap.sampling: max":                    func(w *workload.Workload) { w.Tap.Sampling.MaxBytes = -1 },
		"tap.sampling.target_error":            func(w *workload.Workload) { w.Tap.Sampling.TargetError = 1 },
		"tap.sampling.minimum_per_stratum":     func(w *workload.Workload) { w.Tap.Sampling.Minimum = -1 },
		"tap.sampling.span":                    func(w *workload.Workload) { w.Tap.Sampling.Span = 0 },
		"replay.tls":                           func(w *workload.Workload) { w.Replay.TLS.CAFile = "ca.pem" },
		"replay.precision":                     func(w *workload.Workload) { w.Replay.Precision = 0 },
		"replay.volume":                        func(w *workload.Workload) { w.Replay.Volume = "loud" },
		"replay.clients":                       func(w *workload.Workload) { w.Replay.Clients = "none" },
		"replay.state_changing":                func(w *workload.Workload) { w.Replay.StateChanging = []string{"/cart"} },
		"replay.dependencies[0].upstream": func(w *workload.Workload) {
			w.Replay.Dependencies = []workload.Dependency{{Name: "pay", Listen: ":1", Mode: workload.Record, Upstream: "pay:80"}}
		},
		"replay.dependencies[0].mode": func(w *workload.Workload) { w.Replay.Dependencies = []workload.Dependency{{Name: "pay", Listen: ":1"}} },
		"replay.dependencies[0].routes[0]": func(w *workload.Workload) {
			w.Replay.Dependencies = []workload.Dependency{{Name: "pay", Listen: ":1", Mode: workload.Serve, Routes: []workload.DependencyRoute{{Route: "/x"}}}}
		},
		"replay.tokens[0]":      func(w *workload.Workload) { w.Replay.Tokens = []workload.TokenRule{{Name: "x"}} },
		"replay.allow_hosts[0]": func(w *workload.Workload) { w.Replay.AllowHosts = []string{"db", "db:5432"} },
		`replay.allow_hosts[1]: want host:port, the port a number from 1 to 65535, got "db:99999"`: func(w *workload.Workload) {
			w.Replay.AllowHosts = []string{"db:5432", "db:99999"}
		},
		`got "db:postgresql"`:  func(w *workload.Workload) { w.Replay.AllowHosts = []string{"db:postgresql"} }, // which the egress would not know
		"prices.instance_hour": func(w *workload.Workload) { w.Prices.InstanceHour = -1 },
	}
	for want, spoil := range tests {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var f file
			if err := workload.Decode("f.yaml", []byte(valid), nil, &f); err != nil {
				t.Fatal(err)
			}
			w := f.Workloads[0]
			spoil(&w)
			err := w.Validate()
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one fault that names %q", err, want)
			}
		})
	}
}

func TestJSONPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]string{
		"*": {"*"}, "user.email": {"user", "email"}, "$.user.email": {"user", "email"}, "items[*].card": {"items", "[*]", "card"},
		"a[0][12]": {"a", "[0]", "[12]"}, "**.token": {"**", "token"}, "[*].x": {"[*]", "x"},
		"": nil, "a.": nil, "a[": nil, "a[]": nil, "a[1]b": nil, "a[-1]": nil, "$": nil,
	} {
		got, err := workload.JSONPath(path)
		if diff := cmp.Diff(want, got); diff != "" && want != nil || (err == nil) != (want != nil) {
			t.Errorf("%q: %v, %v, want %v", path, got, err, want)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	s := struct{ S workload.Secret }{"hunter2"}
	text, _ := s.S.MarshalText()
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s.S, s.S), string(text)} {
		if strings.Contains(out, "hunter2") {
			t.Errorf("printed %q", out)
		}
	}
	if got := workload.Redacted("postgres://u:hunter2@h/db"); strings.Contains(got, "hunter2") || !strings.Contains(got, "h/db") {
		t.Errorf("Redacted = %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var into file
		if workload.Decode("f.yaml", data, nil, &into) == nil {
			for _, w := range into.Workloads {
				_ = w.Validate()
			}
		}
	})
}
