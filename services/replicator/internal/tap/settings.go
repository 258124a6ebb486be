package tap

import (
	"net/http"
	"slices"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/redact"
	"github.com/foreshadow/foreshadow/services/replicator/internal/stratum"
)

// settings is all that a reload replaces, as one: no request is sampled by the old rate and redacted by the new rules.
type settings struct {
	workload       workload.Workload
	sampler        traffic.Sampler
	classifier     *stratum.Classifier
	redactor       *redact.Redactor
	methods        map[string]bool
	bodies         map[string]bool
	cookie         string
	header         string
	trustForwarded bool
	share          func() float64
}

// newSettings builds the settings; before is what held until now, or nil.
func newSettings(cfg Config, before *settings) (*settings, error) {
	t := cfg.Workload.Tap
	sampler := traffic.NewSampler(t.SampleKey.Reveal())
	s := &settings{
		workload: cfg.Workload, sampler: sampler, redactor: redact.New(t, sampler),
		methods: map[string]bool{}, bodies: typeSet(cfg.KeepBodies), cookie: t.SessionCookie,
		header: http.CanonicalHeaderKey(t.SessionHeader), trustForwarded: cfg.TrustForwarded, share: cfg.Share,
	}
	for _, m := range t.Methods {
		s.methods[m] = true
	}
	// A classifier has learned which routes, countries and networks there are: a new one would let the bound on them be
	// reached twice.
	if before != nil && sameStrata(t, before.workload.Tap) {
		s.classifier = before.classifier
		return s, nil
	}
	var err error
	s.classifier, err = stratum.New(t)
	return s, err
}

func sameStrata(a, b workload.Tap) bool {
	return slices.Equal(a.Routes, b.Routes) && a.MaxRoutes == b.MaxRoutes && a.MaxWords == b.MaxWords && a.MaxStrata == b.MaxStrata &&
		a.GeographyHeader == b.GeographyHeader && a.NetworkHeader == b.NetworkHeader &&
		a.GeographyDatabase == b.GeographyDatabase && a.NetworkDatabase == b.NetworkDatabase
}

// sample decides about a session: the probability with which it is copied now, and why it is not.
func (s *settings) sample(session string) (probability float64, drop string) {
	ratio := s.workload.Tap.SampleRatio
	if !s.sampler.Includes(session, ratio) {
		return 0, ReasonSampledOut
	}
	share := 1.0
	if s.share != nil {
		share = s.share()
	}
	// Samples are nested, so that shedding keeps whole sessions, and the same ones as long as it lasts.
	if share < 1 && !s.sampler.Includes(session, ratio*share) {
		return 0, ReasonShed
	}
	return ratio * share, ""
}
