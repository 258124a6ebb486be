package workload

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Validate reports every fault of the workload at once; each message names the key.
func (w Workload) Validate() error {
	var errs []error
	fault := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if !namePattern.MatchString(w.Name) {
		fault("name", "want 1 to 63 lower-case letters, digits and dashes, got %q", w.Name)
	}
	w.SLO.validate(fault)
	w.Production.validate("production", fault)
	w.Shadow.validate("shadow", fault)
	if w.Production.Platform == w.Shadow.Platform && w.Production.Group == w.Shadow.Group && w.Shadow.Group != "" {
		fault("shadow.group", "is production's own group %q: a shadow request would reach production", w.Shadow.Group)
	}
	if k := w.Production.Kubernetes; w.Production.Platform == PlatformKubernetes && w.Shadow.Platform == PlatformKubernetes &&
		k.Namespace == w.Shadow.Kubernetes.Namespace && k.Name == w.Shadow.Kubernetes.Name {
		fault("shadow.kubernetes", "is production's own object %s/%s: a shadow request would reach production", k.Namespace, k.Name)
	}
	if d := w.Production.Docker; w.Production.Platform == PlatformDocker && w.Shadow.Platform == PlatformDocker && maps.Equal(d.Labels, w.Shadow.Docker.Labels) {
		fault("shadow.docker.labels", "are production's own: a shadow request would reach production")
	}
	if w.Production.Kubernetes.Copy.Enabled {
		fault("production.kubernetes.copy", "only a shadow is a copy")
	}
	if c := w.Shadow.Kubernetes; c.Copy.Enabled && (w.Production.Platform != PlatformKubernetes || c.Namespace == w.Production.Kubernetes.Namespace) {
		fault("shadow.kubernetes.copy", "needs production on kubernetes, in another namespace: its secrets must be out of reach")
	}
	w.Instances.validate("instances", 1, fault)
	w.ShadowInstances.validate("shadow_instances", 0, fault)
	// With fewer than the minimum it may start: the provisioner adds what is missing.
	if n := w.Production.Process.Initial; w.Production.Platform == PlatformLocal && w.Instances.Max >= 1 && n > w.Instances.Max {
		fault("production.process.initial", "must be at most instances.max (%d), got %d", w.Instances.Max, n)
	}
	w.Policy.validate(fault)
	w.Guardrails.validate(fault)
	if w.Policy.Size == Cheapest && !w.Guardrails.Resize {
		fault("policy.size", "cheapest needs guardrails.resize: true")
	}
	w.Tap.validate(fault)
	w.Replay.validate(fault)
	if err := w.Calendar.Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			errs = append(errs, errors.New("calendar."+line))
		}
	}
	for key, price := range map[string]float64{
		"instance_hour": w.Prices.InstanceHour, "cpu_core_hour": w.Prices.CPUCoreHour, "memory_gib_hour": w.Prices.MemoryGiBHour,
	} {
		if !(price >= 0) {
			fault("prices."+key, "must not be negative, got %v", price)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

type faultFunc func(key, format string, args ...any)

func (s SLO) validate(fault faultFunc) {
	if s == (SLO{}) {
		fault("slo", "is missing: say which latency at which quantile users were promised")
		return
	}
	if !(s.Quantile > 0 && s.Quantile < 1) {
		fault("slo.quantile", "want a value between 0 and 1, got %v", s.Quantile)
	}
	if s.Latency <= 0 {
		fault("slo.latency", "must be positive, got %v", s.Latency)
	}
	if !(s.ErrorRatio >= 0 && s.ErrorRatio < 1) {
		fault("slo.error_ratio", "want a value from 0 to below 1, got %v", s.ErrorRatio)
	}
}

func (t Target) validate(key string, fault faultFunc) {
	if !namePattern.MatchString(t.Group) {
		fault(key+".group", "want 1 to 63 lower-case letters, digits and dashes, got %q", t.Group)
	}
	if !(t.CPUCores >= 0) || t.MemoryBytes < 0 || !(t.NetworkBytesPerSecond >= 0) {
		fault(key, "cpu_cores, memory_bytes and network_bytes_per_second must not be negative, got %v, %d and %v",
			t.CPUCores, t.MemoryBytes, t.NetworkBytesPerSecond)
	}
	switch t.Platform {
	case PlatformLocal:
		t.Process.validate(key+".process", fault)
	case PlatformKubernetes:
		t.Kubernetes.validate(key+".kubernetes", fault)
	case PlatformDocker:
		t.Docker.validate(key+".docker", fault)
	default:
		fault(key+".platform", "want local, docker or kubernetes, got %q", t.Platform)
	}
}

func (p Process) validate(key string, fault faultFunc) {
	if len(p.Command) == 0 {
		fault(key+".command", "is missing")
	}
	if !strings.HasPrefix(p.ReadyPath, "/") {
		fault(key+".ready_path", "want a path that begins with /, got %q", p.ReadyPath)
	}
	if p.StartTimeout < 0 || p.DrainTimeout < 0 {
		fault(key, "start_timeout and drain_timeout must not be negative")
	}
	if p.Initial < 0 {
		fault(key+".initial", "must not be negative, got %d", p.Initial)
	}
}

func (l Limits) validate(key string, least int, fault faultFunc) {
	if l.Min < least {
		fault(key+".min", "must be at least %d, got %d", least, l.Min)
	}
	if l.Max < l.Min || l.Max < 1 {
		fault(key+".max", "must be at least 1 and at least min (%d), got %d", l.Min, l.Max)
	}
}

func (p Policy) validate(fault faultFunc) {
	if p.Kind != Predictive && p.Kind != Reactive {
		fault("policy.kind", "want predictive or reactive, got %q", p.Kind)
	}
	if !(p.Risk > 0 && p.Risk <= 0.5) {
		fault("policy.risk", "want a value above 0 and at most 0.5, got %v", p.Risk)
	}
	if !(p.Budget >= 0 && p.Budget <= 10) {
		fault("policy.budget", "want a share of the HPA's bill from 0 (none) to 10, got %v", p.Budget)
	}
	for key, d := range map[string]time.Duration{"interval": p.Interval, "startup": p.Startup, "history": p.History} {
		if d <= 0 {
			fault("policy."+key, "must be positive, got %v", d)
		}
	}
	if p.ScaleDownAfter < 0 {
		fault("policy.scale_down_after", "must not be negative, got %v", p.ScaleDownAfter)
	}
	if p.OutageHold < 0 {
		fault("policy.outage_hold", "must not be negative, got %v", p.OutageHold)
	}
	if !(p.CapacityHint >= 0) {
		fault("policy.capacity_hint", "must not be negative, got %v", p.CapacityHint)
	}
	if p.Size != Advise && p.Size != Cheapest {
		fault("policy.size", "want advise or cheapest, got %q", p.Size)
	}
}

func (r Replay) validate(fault faultFunc) {
	if !(r.Amplification > 0 && r.Amplification <= 1000) {
		fault("replay.amplification", "want a value above 0 and at most 1000, got %v", r.Amplification)
	}
	if r.MaxInFlight < 1 || r.MinRequests < 1 {
		fault("replay", "max_in_flight and min_requests must be at least 1")
	}
	for key, d := range map[string]time.Duration{
		"timeout": r.Timeout, "step_duration": r.StepDuration, "capacity_ttl": r.CapacityTTL,
	} {
		if d <= 0 {
			fault("replay."+key, "must be positive, got %v", d)
		}
	}
	if !r.TLS.Enabled && (r.TLS.ServerName != "" || r.TLS.CAFile != "") {
		fault("replay.tls", "server_name and ca_file say something only with enabled: true")
	}
	if r.SettleDuration < 0 {
		fault("replay.settle_duration", "must not be negative, got %v", r.SettleDuration)
	}
	if !(r.Precision > 0 && r.Precision <= 0.5) {
		fault("replay.precision", "want a value above 0 and at most 0.5, got %v", r.Precision)
	}
	if !(r.MaxRate > 0) {
		fault("replay.max_rate", "must be positive, got %v", r.MaxRate)
	}
	if r.Volume != Sampled && r.Volume != ProductionVolume {
		fault("replay.volume", "want sampled or production, got %q", r.Volume)
	}
	if r.Clients != Pooled && r.Clients != Emulated {
		fault("replay.clients", "want pooled or emulated, got %q", r.Clients)
	}
	for _, route := range r.StateChanging {
		if method, path, _ := strings.Cut(route, " "); method == "" || method != strings.ToUpper(method) || !strings.HasPrefix(path, "/") {
			fault("replay.state_changing", "want a method and a path such as \"POST /cart/{id}\", got %q", route)
		}
	}
	for i, d := range r.Dependencies {
		d.validate(fmt.Sprintf("replay.dependencies[%d]", i), r.AllowHosts, fault)
	}
	for i, t := range r.Tokens {
		if t.Name == "" || t.FromJSON+t.FromHTML+t.FromHeader == "" || t.ToHeader+t.ToQuery+t.ToField+t.ToPath == "" {
			fault(fmt.Sprintf("replay.tokens[%d]", i), "want a name, a from_… and a to_…")
		}
	}
	for i, h := range r.AllowHosts {
		_, port, _ := net.SplitHostPort(h)
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			fault(fmt.Sprintf("replay.allow_hosts[%d]", i), "want host:port, the port a number from 1 to 65535, got %q", h)
		}
	}
}

func (d Dependency) validate(key string, allowed []string, fault faultFunc) {
	if d.Name == "" {
		fault(key+".name", "is missing")
	}
	if _, _, err := net.SplitHostPort(d.Listen); err != nil {
		fault(key+".listen", "want host:port, got %q", d.Listen)
	}
	switch d.Mode {
	case Serve, Block:
	case Record:
		if !slices.Contains(allowed, d.Upstream) {
			fault(key+".upstream", "want one of replay.allow_hosts to record from, got %q", d.Upstream)
		}
	default:
		fault(key+".mode", "want serve, block or record, got %q", d.Mode)
	}
	for i, r := range d.Routes {
		if method, path, _ := strings.Cut(r.Route, " "); method == "" || !strings.HasPrefix(path, "/") || r.Status != 0 && (r.Status < 200 || r.Status > 599) || r.Latency < 0 {
			fault(fmt.Sprintf("%s.routes[%d]", key, i), "want a route such as \"GET /rates/{currency}\", a status of 200 to 599 and no negative latency")
		}
	}
}
