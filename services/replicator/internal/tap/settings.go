package tap

import (
	"crypto/rand"
	"net/http"
	"slices"

	"github.com/foreshadow/foreshadow/libs/traffic"
	"github.com/foreshadow/foreshadow/libs/traffic/bodyshape"
	"github.com/foreshadow/foreshadow/libs/workload"
	"github.com/foreshadow/foreshadow/services/replicator/internal/redact"
	"github.com/foreshadow/foreshadow/services/replicator/internal/stratum"
)

// settings is all that a reload replaces, as one: no request is sampled by the old rate and redacted by the new rules.
type settings struct {
	workload workload.Workload
	sampler  traffic.Sampler
	// madeUp is the key of the sampler where none is configured.
	madeUp         string
	classifier     *stratum.Classifier
	redactor       *redact.Redactor
	rules          []rule
	standard       rule
	bodies         map[string]bool
	cookie         string
	header         string
	trace          bool
	trustForwarded bool
	share          func() float64
	// vocabulary has learnt which names of fields may leave.
	vocabulary *bodyshape.Vocabulary
}

// newSettings builds the settings; before is what held until now, or nil.
func newSettings(cfg Config, before *settings) (*settings, error) {
	t := cfg.Workload.Tap
	key := t.SampleKey.Reveal()
	if key == "" {
		// Without a key anyone could try out what a pseudonym stands for. One that nobody knows lasts as long as the process.
		if key = rand.Text(); before != nil && before.madeUp != "" {
			key = before.madeUp
		}
	}
	sampler := traffic.NewSampler(key).Salted(t.Experiment)
	s := &settings{
		workload: cfg.Workload, sampler: sampler, redactor: redact.New(t, sampler),
		rules: newRules(t), standard: newRule(t, workload.Rule{}), bodies: typeSet(cfg.KeepBodies), cookie: t.SessionCookie,
		header: http.CanonicalHeaderKey(t.SessionHeader), trustForwarded: cfg.TrustForwarded, trace: t.SessionTrace, share: cfg.Share,
	}
	if t.SampleKey == "" {
		s.madeUp = key
	}
	// A name that was learnt is not asked about again: other patterns begin anew.
	if before != nil && slices.Equal(t.RedactPatterns, before.workload.Tap.RedactPatterns) {
		s.vocabulary = before.vocabulary
	} else {
		s.vocabulary = bodyshape.NewVocabulary(s.redactor.Admits)
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
	return slices.Equal(a.Routes, b.Routes) && slices.Equal(a.RedactPatterns, b.RedactPatterns) && a.MaxRoutes == b.MaxRoutes && a.MaxWords == b.MaxWords && a.MaxStrata == b.MaxStrata &&
		a.GeographyHeader == b.GeographyHeader && a.NetworkHeader == b.NetworkHeader &&
		a.GeographyDatabase == b.GeographyDatabase && a.NetworkDatabase == b.NetworkDatabase
}

// remaining is the part of the sample that a budget leaves.
func (s *settings) remaining() float64 {
	if s.share == nil {
		return 1
	}
	return s.share()
}
