package scaling

import "testing"

// A start under a budget does what the HPA would do, which takes over what it finds: also what is still starting.
func TestAStartDoesNotReleaseWhatIsStarting(t *testing.T) {
	t.Parallel()
	in := settled()
	in.Config.Budget = 1
	in.Config.MaxInstances = 100
	in.Instances = Instances{Desired: 40, Ready: 10}
	d, _ := Decide(State{}, in, start)
	if !has(d, HPAUntilKnown) || d.Production.Instances < 40 {
		t.Errorf("%d instances of 40 asked for: %v", d.Production.Instances, texts(d))
	}
}
