package tap

import "runtime/debug"

// contain is deferred around all that reads what clients and instances have sent. A panic there would end the process, and all
// of production's connections with it, for a copy; so it ends the copy. No lock outlives it, for each is released by defer. The
// first one is said with its place, which holds nothing of the request; the ledger counts them all.
func (x *Exchange) contain() {
	if recover() == nil {
		return
	}
	x.capture.release()
	x.drop, x.drawn, x.capture = ReasonFault, false, nil
	if x.tap.faulty.CompareAndSwap(false, true) {
		x.tap.log.Error("the tap has a fault, requests that meet it are not copied", "workload", x.set.workload.Name, "err", string(debug.Stack()))
	}
}
