package workload

import "time"

// Tap says what is copied from production.
type Tap struct {
	// SampleRatio is the share of sessions copied, in [0, 1]. A rule may say otherwise for its route, and Sampling may
	// lower it (caps) or replace it (target).
	SampleRatio float64 `yaml:"sample_ratio"`
	// SampleKey keys the hash that picks sessions and makes pseudonyms; replicators of one workload share it. Without it each
	// process makes one up, and its pseudonyms end with it.
	SampleKey Secret `yaml:"sample_key"`
	// Experiment salts the choice of sessions: another name picks other ones. Pseudonyms stay.
	Experiment string `yaml:"experiment"`
	// Sampling bounds the sample, or says how exact it has to be.
	Sampling Sampling `yaml:"sampling"`
	// SessionCookie and SessionHeader name what identifies a session (or a user); the client address is used when neither
	// is there.
	SessionCookie string `yaml:"session_cookie"`
	// SessionHeader names a header that identifies a session.
	SessionHeader string `yaml:"session_header"`
	// SessionTrace takes the W3C trace id for the session where cookie and header are missing: whole traces are sampled.
	SessionTrace bool `yaml:"session_trace"`
	// Methods that may be replicated; requests with any other change state and stay out, unless a rule allows them.
	Methods []string `yaml:"methods"`
	// Rules say otherwise for single routes; the first that matches a path holds.
	Rules []Rule `yaml:"rules"`
	// AllowHeaders leave with the copy; every other header stays. Credentials cannot be allowed.
	AllowHeaders []string `yaml:"allow_headers"`
	// RedactQuery names query and form parameters whose values are replaced by a keyed pseudonym; `*` is all of them.
	RedactQuery []string `yaml:"redact_query"`
	// RedactJSON are paths into JSON bodies whose values are replaced: `user.email`, `items[*].card`, `*.token` (one step of
	// any name), `**.token` (at any depth), `*` alone: all values. A path covers what lies below it.
	RedactJSON []string `yaml:"redact_json"`
	// RedactPatterns are regular expressions (RE2); what they match in paths, parameters, allowed headers and bodies of text
	// is replaced.
	RedactPatterns []string `yaml:"redact_patterns"`
	// AnswerShapes is how many copies per second say which fields production's JSON answer had, and of which types, so that
	// the shadow's can be compared with it; 0 = none. Values never leave, and names only when several sessions' answers have them.
	AnswerShapes float64 `yaml:"answer_shapes_per_second"`
	// MaxBodyBytes of a body travel with the copy; larger ones keep size and hash only.
	MaxBodyBytes int64 `yaml:"max_body_bytes"`
	// Routes are path templates such as /items/{id} that come before the automatic ones.
	Routes []string `yaml:"routes"`
	// MaxRoutes bounds the number of routes told apart; the rest is one route `other`.
	MaxRoutes int `yaml:"max_routes"`
	// MaxWords is the number of distinct words at one place of a path from which the place is taken for a value ({slug}).
	MaxWords int `yaml:"max_words"`
	// MaxStrata bounds the combinations of route, geography, device and network; the rest is one stratum `other`.
	MaxStrata int `yaml:"max_strata"`
	// GeographyHeader names a trusted header with the client's country, ISO 3166-1; empty = unknown.
	GeographyHeader string `yaml:"geography_header"`
	// GeographyDatabase is the path of a MaxMind-format database (Country, City) for clients without that header.
	GeographyDatabase string `yaml:"geography_database"`
	// NetworkHeader names a trusted header with the client's network class; empty = unknown.
	NetworkHeader string `yaml:"network_header"`
	// NetworkDatabase is the path of a MaxMind-format Connection-Type database. Without it, and for clients it does not
	// know, the client hints ECT, RTT, Downlink and Save-Data decide.
	NetworkDatabase string `yaml:"network_database"`
}

// Sampling bounds the sample, or says how exact it has to be.
type Sampling struct {
	// MaxRequests and MaxBytes cap the copies per second, in requests and in bytes of request; 0 = no cap. The rates are
	// lowered to keep below; what still exceeds is dropped and counted.
	MaxRequests float64 `yaml:"max_requests_per_second"`
	MaxBytes    float64 `yaml:"max_bytes_per_second"`
	// TargetError asks for a p95 and a mix (total variation) within this share at 95 % confidence, for example 0.05; 0 =
	// rates are as configured. The rate of each stratum is set by Neyman allocation then, and SampleRatio is where it begins.
	TargetError float64 `yaml:"target_error"`
	// Minimum is how many requests of each stratum within Span the allocation aims at, at least.
	Minimum int `yaml:"minimum_per_stratum"`
	// Interval is the time between two allocations.
	Interval time.Duration `yaml:"interval"`
	// Span is the stretch of time over which the traffic is looked at, and that the published confidence is about.
	Span time.Duration `yaml:"span"`
}

// BodyPolicy is how much of a request body travels.
type BodyPolicy string

// Body policies.
const (
	// BodyFull keeps the whole body, redacted, up to max_body_bytes.
	BodyFull BodyPolicy = "full"
	// BodyPrefix keeps the first body_prefix_bytes, redacted.
	BodyPrefix BodyPolicy = "prefix"
	// BodyHash keeps size and keyed hash.
	BodyHash BodyPolicy = "hash"
	// BodyNone keeps the size.
	BodyNone BodyPolicy = "none"
)

// Rule says what holds for one route.
type Rule struct {
	// Route is a path template such as /items/{id}; a last segment `**` matches any rest.
	Route string `yaml:"route"`
	// Methods that the rule is about, which may then be replicated; empty: those of the tap.
	Methods []string `yaml:"methods"`
	// SampleRatio of this route, in [0, 1]; not given: that of the tap. With a target it is where the allocation begins, but
	// for 0, which stays.
	SampleRatio *float64 `yaml:"sample_ratio"`
	// Body is how much of the body travels: full, prefix, hash, none; empty: full for the media types that are kept.
	Body BodyPolicy `yaml:"body"`
	// BodyPrefixBytes is the length of the prefix.
	BodyPrefixBytes int64 `yaml:"body_prefix_bytes"`
}
