package scaling

import "math"

// capacityGrounds says what is doubtful about the capacity. A mix that moved, or instances of another size, make it doubtful
// enough to keep the HPA's floor even under a trusted forecast.
func (d *decider) capacityGrounds(w *wish) {
	if d.in.Capacity.Source == CapacityHint {
		d.ground(Reason{Code: CapacityNotTested})
	}
	if d.mixMoved() {
		d.ground(Reason{Code: CapacityMixMoved})
		*w = d.floor(*w)
	}
	if d.in.Capacity.OtherSize {
		d.ground(Reason{Code: CapacityOtherSize})
		*w = d.floor(*w)
	}
}

// mixMoved treats an impossible drift as a large one.
func (d *decider) mixMoved() bool {
	return d.in.Capacity.Source == CapacityMeasured && !(d.in.Capacity.MixDrift <= d.c.MaxMixDrift)
}

func (d *decider) expired() bool {
	return !d.in.Capacity.Expires.IsZero() && d.now.After(d.in.Capacity.Expires)
}

// shadow wakes the shadow while there is something to learn.
func (d *decider) shadow() {
	learn := true
	switch {
	case !d.in.Capacity.usable() || d.in.Capacity.Source == CapacityHint || d.mixMoved():
	case d.expired():
		d.ground(Reason{Code: CapacityExpired})
	case d.in.Capacity.Rough:
		d.ground(Reason{Code: CapacityRough})
	default:
		learn = false
	}
	if !learn || d.c.ShadowInstances == 0 {
		d.ground(Reason{Code: ShadowAsleep})
		return
	}
	d.ground(Reason{Code: ShadowAwake})
	d.out.Shadow = d.out.Production
	d.out.Shadow.Instances = d.c.ShadowInstances
	if d.in.Size != (InstanceSize{}) {
		// A capacity holds for the size it was measured on: that of production as it is, not as it is to be.
		d.out.Shadow.CPUCores, d.out.Shadow.MemoryBytes = d.in.Size.CPUCores, d.in.Size.MemoryBytes
	}
}

// resources sizes an instance for the highest rate it is to carry: its capacity, or its share of the demand while that
// is not known.
func (d *decider) resources() {
	e := d.out.Evidence
	rate := e.Capacity
	if rate == 0 && d.demand && e.Ready > 0 {
		rate = e.Demand / float64(e.Ready)
	}
	if rate == 0 {
		return
	}
	p := &d.out.Production
	p.CPUCores = d.in.Resources.CPU.sized(rate, d.c.Headroom)
	p.MemoryBytes = d.in.Resources.Memory.sized(rate, d.c.Headroom)
	p.NetworkBytesPerSecond = d.in.Resources.Network.sized(rate, d.c.Headroom)
}

// sized returns the use at a rate with headroom, zero when the line is not known.
func (l Line) sized(rate, headroom float64) float64 {
	use := l.at(rate) * (1 + headroom)
	if !known(l.Base) || !known(l.PerRequest) || math.IsInf(use, 1) {
		return 0
	}
	return use
}
