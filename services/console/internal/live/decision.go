package live

import (
	"encoding/json"
	"slices"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

const (
	// keptRecommendations bounds memory: about 1.5 kB each.
	keptRecommendations = 1000
	shownDecisions      = 60
)

// Decision is a run of recommendations that said the same for the same reason. The predictor decides every second or so;
// a person wants to see when it changed its mind.
type Decision struct {
	// ID is the generation of the first recommendation of the run.
	ID string `json:"id"`
	// From and Until are when the first and the newest one of the run were made, in Unix seconds.
	From  float64 `json:"from"`
	Until float64 `json:"until"`
	// Count of recommendations in the run.
	Count int `json:"count"`
	// Previous is the number of instances of the run before; nil for the oldest run known.
	Previous *int32 `json:"previous_instances"`
	// Recommendation is the first one of the run, the one that made the change, in the JSON of its proto.
	Recommendation json.RawMessage `json:"recommendation"`
	// Prospects are those of the newest one of the run, in the JSON of their proto; absent when it had none.
	Prospects json.RawMessage `json:"prospects,omitempty"`

	first, newest *foreshadowv1.Recommendation
}

// recommendations is ordered by generation.
type recommendations []*foreshadowv1.Recommendation

// put reports whether the recommendation is new, and whether it is the newest.
func (l *recommendations) put(r *foreshadowv1.Recommendation) (added, newest bool) {
	at, found := slices.BinarySearchFunc(*l, r.GetGeneration(), func(q *foreshadowv1.Recommendation, g uint64) int {
		switch {
		case q.Generation < g:
			return -1
		case q.Generation > g:
			return 1
		}
		return 0
	})
	if found {
		return false, false
	}
	newest = at == len(*l)
	*l = slices.Insert(*l, at, r)
	// What money buys is asked of the newest only.
	switch {
	case !newest:
		r.Prospects = nil
	case at > 0:
		(*l)[at-1].Prospects = nil
	}
	if extra := len(*l) - keptRecommendations; extra > 0 {
		*l = slices.Delete(*l, 0, extra)
	}
	return true, newest
}

// decisions folds the recommendations into runs, newest first, at most limit.
func (l recommendations) decisions(limit int) []Decision {
	var runs []Decision
	for _, r := range l {
		if n := len(runs); n > 0 && sameDecision(runs[n-1].first, r) {
			runs[n-1].Until = unix(r.GetCreateTime())
			runs[n-1].Count++
			runs[n-1].newest = r
			continue
		}
		d := Decision{ID: sizingPoint(r).Generation, From: unix(r.GetCreateTime()), Until: unix(r.GetCreateTime()), Count: 1, first: r, newest: r}
		if n := len(runs); n > 0 {
			previous := runs[n-1].first.GetProduction().GetInstances()
			d.Previous = &previous
		}
		runs = append(runs, d)
	}
	slices.Reverse(runs)
	return runs[:min(limit, len(runs))]
}

func sameDecision(a, b *foreshadowv1.Recommendation) bool {
	return a.GetPolicy() == b.GetPolicy() && a.GetProduction().GetInstances() == b.GetProduction().GetInstances() && why(a) == why(b)
}

// why is the code of the main reason.
func why(r *foreshadowv1.Recommendation) string {
	if len(r.GetReasons()) == 0 {
		return ""
	}
	return r.Reasons[0].GetCode()
}
