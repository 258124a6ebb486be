package forecast

// Abstention is the error of an engine that has no forecast to give; Reason is a full sentence for a person.
type Abstention struct{ Reason string }

func (a *Abstention) Error() string { return "no forecast: " + a.Reason }
