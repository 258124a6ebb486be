package hpa

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A controller that was written down and read back in the middle of a day goes on as one that was not.
func TestAMemoryGoesOnAfterItWasWrittenDown(t *testing.T) {
	t.Parallel()
	behavior := DefaultBehavior()
	rules := Rules{Min: 1, Max: 100, Behavior: &behavior}
	now := time.Date(2026, 3, 2, 12, 0, 0, 7, time.UTC)
	var kept, plain History
	holds, same := 10, 10
	for i := range 400 {
		wanted := 20 + int(15*math.Sin(float64(i)/10)) - i%3
		holds, kept = rules.Normalize(kept, holds, wanted, now)
		same, plain = rules.Normalize(plain, same, wanted, now)
		data, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		kept = History{}
		if err := json.Unmarshal(data, &kept); err != nil {
			t.Fatal(err)
		}
		if holds != same {
			t.Fatalf("step %d: %d replicas after a restart, %d without", i, holds, same)
		}
		if diff := cmp.Diff(plain, kept, cmp.AllowUnexported(History{}, wish{}, event{}), cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Fatalf("step %d (-without a restart +after one):\n%s", i, diff)
		}
		now = now.Add(15 * time.Second)
	}
}

func TestADamagedMemoryIsRefused(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`[]`, `{"wishes": 3}`, `{"wishes": [[-1, 0]]}`, `{"ups": [[4294967296, 0]]}`, `{"downs": [[-5, 0]]}`} {
		h := History{ups: []event{{change: 1}}}
		if err := json.Unmarshal([]byte(data), &h); err == nil {
			t.Errorf("%s was taken", data)
		}
		if len(h.ups) != 1 {
			t.Errorf("%s changed the memory it was refused for", data)
		}
	}
}
