// Package workload is what the user declares: which service to scale, what its users were promised, within which limits,
// and where its shadow runs. It also loads the configuration file that every service reads (Load). A Workload that passed
// Validate is safe to act upon.
package workload

import (
	"time"

	"github.com/foreshadow/foreshadow/libs/forecast/calendar"
)

// Workload is one service that Foreshadow scales.
type Workload struct {
	// Name is unique among the workloads of one installation: lower-case letters, digits and dashes.
	Name string `yaml:"name"`
	// SLO is what users were promised.
	SLO SLO `yaml:"slo"`
	// Production is where users are served.
	Production Target `yaml:"production"`
	// Shadow is the isolated replica.
	Shadow Target `yaml:"shadow"`
	// Instances bounds production.
	Instances Limits `yaml:"instances"`
	// ShadowInstances bounds the shadow; its minimum may be 0 (asleep).
	ShadowInstances Limits `yaml:"shadow_instances"`
	// Policy is how far to look ahead and how much risk to take.
	Policy Policy `yaml:"policy"`
	// Guardrails bound every change, whatever was recommended.
	Guardrails Guardrails `yaml:"guardrails"`
	// Tap says what is copied from production, and what never leaves it.
	Tap Tap `yaml:"tap"`
	// Replay says how the shadow is driven and measured.
	Replay Replay `yaml:"replay"`
	// Prices turn sizes into money.
	Prices Prices `yaml:"prices"`
	// Calendar is what is known of the demand beforehand: holidays, launches, outages, and by which clock users live.
	Calendar calendar.Calendar `yaml:"calendar"`
}

// SLO is the promise to users: the given quantile of latency stays at or below Latency, and at most ErrorRatio of the
// requests fail.
type SLO struct {
	// Quantile of the latency the promise is about, in (0, 1).
	Quantile float64 `yaml:"quantile"`
	// Latency at that quantile.
	Latency time.Duration `yaml:"latency"`
	// ErrorRatio is the share of requests that may fail, in [0, 1).
	ErrorRatio float64 `yaml:"error_ratio"`
}

// Target is one environment: a group of equal instances on a platform.
type Target struct {
	// Platform names where the instances run: `local` (processes of this machine), `docker` or `kubernetes`.
	Platform string `yaml:"platform"`
	// Group names the instances on the platform.
	Group string `yaml:"group"`
	// CPUCores is what one instance is given, in cores; 0 = not declared, and utilisation is not known.
	CPUCores float64 `yaml:"cpu_cores"`
	// MemoryBytes is what one instance is given; 0 = not declared.
	MemoryBytes int64 `yaml:"memory_bytes"`
	// NetworkBytesPerSecond is what the link of one instance carries, in and out together; 0 = not declared.
	NetworkBytesPerSecond float64 `yaml:"network_bytes_per_second"`
	// Process says how the local platform runs one instance.
	Process Process `yaml:"process"`
	// Kubernetes says which object the group is on that platform.
	Kubernetes Kubernetes `yaml:"kubernetes"`
	// Docker says which containers the group is on that platform.
	Docker Docker `yaml:"docker"`
}

// Process is how the local platform runs one instance. The environment variable PORT carries the port to listen on.
type Process struct {
	// Command is the program and its arguments.
	Command []string `yaml:"command"`
	// Env is added to the environment.
	Env map[string]string `yaml:"env"`
	// ReadyPath is the HTTP path that answers 200 once the instance can serve.
	ReadyPath string `yaml:"ready_path"`
	// StartTimeout is how long an instance may take to become ready.
	StartTimeout time.Duration `yaml:"start_timeout"`
	// DrainTimeout is how long an instance may finish its requests before it is stopped.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// Initial is the number of instances to start with when the platform has none yet.
	Initial int `yaml:"initial"`
}

// Limits bounds a number of instances.
type Limits struct {
	// Min and Max are inclusive.
	Min int `yaml:"min"`
	// Max is at least Min.
	Max int `yaml:"max"`
}

// PolicyKind selects who decides.
type PolicyKind string

// Kinds of policy.
const (
	// Predictive lets a trusted forecast decide, and falls back to reactive.
	Predictive PolicyKind = "predictive"
	// Reactive never uses the forecast.
	Reactive PolicyKind = "reactive"
)

// SizePolicy selects what becomes of a size of instance that costs less over the day, among those that experiments tried.
type SizePolicy string

// Kinds of size policy.
const (
	// Advise says so in the recommendation.
	Advise SizePolicy = "advise"
	// Cheapest moves production to it, within the guardrails; resize must be allowed by them.
	Cheapest SizePolicy = "cheapest"
)

// Policy is how decisions are made.
type Policy struct {
	// Kind is predictive or reactive.
	Kind PolicyKind `yaml:"kind"`
	// Risk is the accepted probability that demand exceeds capacity within the lead time, in (0, 0.5].
	Risk float64 `yaml:"risk"`
	// Budget is what may be spent, as a share of what the Kubernetes HPA would spend on the same demand. With a budget (1 is the
	// HPA's own bill) exactly what the HPA would do is done until enough was seen of what it costs, a fourteenth of History;
	// from then on the risk follows the budget, so that it is spent on as few violations as it can buy, and Risk is not used.
	// Without one (0, the default) Risk stands from the first trusted forecast on, whatever that costs: less than the HPA on a
	// calm demand, several times as much on one that nobody can foresee. Either way the HPA is followed where users would have
	// been better off with it, and with a budget also while more than seven times its scale actions would be taken. A restart goes
	// on from what was seen.
	Budget float64 `yaml:"budget"`
	// Interval is the time between two decisions, and the step of the forecast.
	Interval time.Duration `yaml:"interval"`
	// Startup is assumed for an instance until it has been measured.
	Startup time.Duration `yaml:"startup"`
	// ScaleDownAfter is how long a smaller size must have been enough before instances are removed.
	ScaleDownAfter time.Duration `yaml:"scale_down_after"`
	// OutageHold is how long instances are kept when demand falls below half of the least of the week before (of 84 times as
	// long, once 6 times as long was seen): users do not leave all at once, something on their way has failed, and when it is
	// back they all are. Those whom the calendar says to stay away are counted as if they were there. With a budget that is paid
	// with what was saved before, and ends with it, unless next to nothing (0.15 of the least) is left. 0: not at all.
	OutageHold time.Duration `yaml:"outage_hold"`
	// History is how far back the forecast looks.
	History time.Duration `yaml:"history"`
	// CapacityHint is what one instance carries in requests per second until the shadow has measured it; 0 = not known.
	CapacityHint float64 `yaml:"capacity_hint"`
	// Size is advise or cheapest: whether a size of instance that an experiment found to cost less is only said, or taken.
	Size SizePolicy `yaml:"size"`
}

// Mode is how far the provisioner goes by itself.
type Mode string

// Modes of the provisioner.
const (
	// DryRun plans and records, and changes nothing of production. The shadow is run: it is what measures.
	DryRun Mode = "dry_run"
	// Approve waits for a person.
	Approve Mode = "approve"
	// Automatic acts.
	Automatic Mode = "automatic"
)

// Guardrails bound every change of production, whatever was recommended.
type Guardrails struct {
	// Mode is how far the provisioner goes by itself.
	Mode Mode `yaml:"mode"`
	// MaxStepUp and MaxStepDown bound one change, in instances; 0 = not bounded.
	MaxStepUp int `yaml:"max_step_up"`
	// MaxStepDown bounds one reduction, in instances; 0 = not bounded.
	MaxStepDown int `yaml:"max_step_down"`
	// RatePeriod is the stretch of time over which MaxRateUp and MaxRateDown count.
	RatePeriod time.Duration `yaml:"rate_period"`
	// MaxRateUp bounds the instances added within RatePeriod; 0 = not bounded.
	MaxRateUp int `yaml:"max_rate_up"`
	// MaxRateDown bounds the instances removed within RatePeriod; 0 = not bounded.
	MaxRateDown int `yaml:"max_rate_down"`
	// StabiliseDown: the highest recommendation of this stretch of time wins over a lower one.
	StabiliseDown time.Duration `yaml:"stabilise_down"`
	// VerifyTimeout is how long new instances may take to become ready before the change counts as failed.
	VerifyTimeout time.Duration `yaml:"verify_timeout"`
	// CooldownUp and CooldownDown are how long after any change nothing is added, or removed; 0 = not at all.
	CooldownUp time.Duration `yaml:"cooldown_up"`
	// CooldownDown is how long after any change nothing is removed, and no size is changed; 0 = not at all.
	CooldownDown time.Duration `yaml:"cooldown_down"`
	// ScaleUp and ScaleDown bound the rate as the behavior section of a HorizontalPodAutoscaler does.
	ScaleUp Behavior `yaml:"scale_up"`
	// ScaleDown bounds the rate of removing instances.
	ScaleDown Behavior `yaml:"scale_down"`
	// MaxHourlyPrice bounds what all instances may cost per hour, by prices; 0 = not bounded. It never removes any.
	MaxHourlyPrice float64 `yaml:"max_hourly_price"`
	// Maintenance are the times at which others work on the service: nothing is changed then, but for a rollback.
	Maintenance []Window `yaml:"maintenance"`
	// ManualHold is how long the size that somebody else has asked for is left alone.
	ManualHold time.Duration `yaml:"manual_hold"`
	// OtherControllers says what is done when a HorizontalPodAutoscaler or ScaledObject scales production too: refuse, or serve
	// (it carries the recommendation out, over KEDA for example, and we only serve the number).
	OtherControllers string `yaml:"other_controllers"`
	// Resize has the recommended CPU, memory and network bandwidth of the instances carried out as well.
	Resize bool `yaml:"resize"`
	// Rollback undoes a change that users feel.
	Rollback Rollback `yaml:"rollback"`
}

// Replay says how the shadow is driven and measured.
type Replay struct {
	// Amplification multiplies the replayed sample; above 0.
	Amplification float64 `yaml:"amplification"`
	// MaxInFlight bounds the requests in flight to the shadow.
	MaxInFlight int `yaml:"max_in_flight"`
	// Timeout of one replayed request.
	Timeout time.Duration `yaml:"timeout"`
	// MinRequests must have been recorded before a capacity measurement starts.
	MinRequests int `yaml:"min_requests"`
	// StepDuration is how long one load level is held in a capacity measurement, after SettleDuration.
	StepDuration time.Duration `yaml:"step_duration"`
	// SettleDuration is how long a level is held before it counts.
	SettleDuration time.Duration `yaml:"settle_duration"`
	// Precision is how narrow the 95 % interval of the capacity is to be, from end to end, as a share of it, in (0, 0.5].
	Precision float64 `yaml:"precision"`
	// MaxRate bounds the search, in requests per second per instance.
	MaxRate float64 `yaml:"max_rate"`
	// CapacityTTL is how long a measurement holds.
	CapacityTTL time.Duration `yaml:"capacity_ttl"`
	// AllowHosts are hosts the runner may reach besides the shadow's instances.
	AllowHosts []string `yaml:"allow_hosts"`
	// Volume is sampled (each copy is sent as often as amplification says) or production (as often as it stands for requests
	// of production, times amplification).
	Volume Volume `yaml:"volume"`
	// StateChanging are routes, such as "POST /cart/{id}", whose requests may be sent although they change state. Their methods
	// must be in tap.methods, too.
	StateChanging []string `yaml:"state_changing"`
	// Clients is pooled (connections are shared, as those of a proxy are) or emulated (each session has its own, as slow as a
	// client of its class).
	Clients Clients `yaml:"clients"`
	// ClientProfiles names a file of what clients of each class are like; empty is the built-in one.
	ClientProfiles string `yaml:"client_profiles"`
	// HTTP2 sends what came to production by HTTP/2 by HTTP/2; gRPC always is. Without TLS that is h2c, with it what the shadow
	// agrees to.
	HTTP2 bool `yaml:"http2"`
	// TLS is how the shadow's instances are spoken to when they speak TLS.
	TLS ReplayTLS `yaml:"tls"`
	// Tokens say what the shadow gives out that later requests of the session must carry. Cookies and the usual CSRF tokens
	// are found without.
	Tokens []TokenRule `yaml:"tokens"`
	// Dependencies are stood in for, so that the shadow's own calls reach nobody.
	Dependencies []Dependency `yaml:"dependencies"`
}

// ReplayTLS is the TLS of the shadow's instances. Their certificates are always checked.
type ReplayTLS struct {
	// Enabled: they speak TLS on the address where others speak HTTP.
	Enabled bool `yaml:"enabled"`
	// ServerName is the name in their certificates; empty is the address of the instance.
	ServerName string `yaml:"server_name"`
	// CAFile holds the certificates, PEM, of those who sign theirs; empty is those the machine trusts.
	CAFile string `yaml:"ca_file"`
}

// Dependency is something the shadow calls by HTTP, which the runner stands in for: point the shadow at Listen.
type Dependency struct {
	// Name tells the dependencies apart.
	Name string `yaml:"name"`
	// Listen is host:port of the stand-in.
	Listen string `yaml:"listen"`
	// Mode is serve, block or record.
	Mode DependencyMode `yaml:"mode"`
	// Upstream is host:port that record asks; it must be in allow_hosts.
	Upstream string `yaml:"upstream"`
	// File keeps what was recorded.
	File string `yaml:"file"`
	// Routes are answered as they say, whatever was recorded.
	Routes []DependencyRoute `yaml:"routes"`
}

// DependencyMode is what a stand-in does.
type DependencyMode string

// Modes of a stand-in.
const (
	// Serve answers what is configured or recorded.
	Serve DependencyMode = "serve"
	// Block refuses every call.
	Block DependencyMode = "block"
	// Record asks the upstream, for methods that change nothing, and keeps its answers.
	Record DependencyMode = "record"
)

// DependencyRoute is the answer to calls of one route.
type DependencyRoute struct {
	// Route is a method and a path, for example "POST /payments" or "GET /rates/{currency}".
	Route string `yaml:"route"`
	// Status is 200 unless said.
	Status int `yaml:"status"`
	// ContentType and Body of the answer.
	ContentType string `yaml:"content_type"`
	// Body of the answer.
	Body string `yaml:"body"`
	// Latency passes before it is answered.
	Latency time.Duration `yaml:"latency"`
}

// Volume is how much of production's traffic is sent.
type Volume string

// Volumes.
const (
	// Sampled sends the sample.
	Sampled Volume = "sampled"
	// ProductionVolume sends what the sample stands for.
	ProductionVolume Volume = "production"
)

// Clients is whose connections those to the shadow are like.
type Clients string

// Kinds of clients.
const (
	// Pooled connections are those of a proxy in front of the service.
	Pooled Clients = "pooled"
	// Emulated connections are those of the users themselves.
	Emulated Clients = "emulated"
)

// TokenRule is one value that the shadow gives to a session, where it is found in an answer and where it goes in requests.
type TokenRule struct {
	// Name tells the rules apart.
	Name string `yaml:"name"`
	// FromJSON is a dotted path into a JSON answer, for example order.id.
	FromJSON string `yaml:"from_json"`
	// FromHTML is the name of an input or a meta element.
	FromHTML string `yaml:"from_html"`
	// FromHeader is the name of a header of the answer.
	FromHeader string `yaml:"from_header"`
	// ToHeader is set in requests; ToQuery and ToField are replaced where a request has them in its query, or in a form or JSON
	// object.
	ToHeader string `yaml:"to_header"`
	// ToQuery is the name of a query parameter.
	ToQuery string `yaml:"to_query"`
	// ToField is the name of a field of the body.
	ToField string `yaml:"to_field"`
	// ToPath is a path such as /orders/{id}, whose first {…} is replaced.
	ToPath string `yaml:"to_path"`
}

// Prices turn sizes into money, in any one currency.
type Prices struct {
	// InstanceHour is the price of an instance for an hour, whatever its size.
	InstanceHour float64 `yaml:"instance_hour"`
	// CPUCoreHour is the price of a CPU core for an hour.
	CPUCoreHour float64 `yaml:"cpu_core_hour"`
	// MemoryGiBHour is the price of a GiB of memory for an hour.
	MemoryGiBHour float64 `yaml:"memory_gib_hour"`
}

// Default returns values that work for an HTTP service; name, SLO and targets must still be given.
func Default() Workload {
	return Workload{
		Instances:       Limits{Min: 1, Max: 10},
		ShadowInstances: Limits{Min: 0, Max: 1},
		Policy: Policy{
			Kind: Predictive, Risk: 0.05, Interval: 15 * time.Second, Startup: time.Minute,
			ScaleDownAfter: 5 * time.Minute, OutageHold: 2 * time.Hour, History: 14 * 24 * time.Hour, Size: Advise,
		},
		Guardrails: Guardrails{
			Mode: DryRun, RatePeriod: time.Minute, StabiliseDown: 5 * time.Minute, VerifyTimeout: 5 * time.Minute,
			ManualHold: 10 * time.Minute, OtherControllers: RefuseOthers,
			Rollback: Rollback{Within: 3 * time.Minute, MinRequests: 200, Hold: 10 * time.Minute},
		},
		Tap: Tap{
			SampleRatio: 0.1, Methods: []string{"GET", "HEAD", "OPTIONS"}, MaxBodyBytes: 64 << 10, MaxRoutes: 100,
			AllowHeaders: []string{"Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "User-Agent"},
			RedactQuery:  []string{"*"}, RedactJSON: []string{"*"}, MaxWords: 30, MaxStrata: 2000, AnswerShapes: 10,
			Sampling: Sampling{Minimum: 10, Interval: 10 * time.Second, Span: time.Minute},
		},
		Replay: Replay{
			Amplification: 1, MaxInFlight: 1000, Timeout: 10 * time.Second, MinRequests: 200, StepDuration: 10 * time.Second,
			SettleDuration: 2 * time.Second, Precision: 0.05, MaxRate: 10000, CapacityTTL: 24 * time.Hour,
			Volume: Sampled, Clients: Pooled,
		},
	}
}
