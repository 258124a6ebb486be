package journal

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/foreshadow/foreshadow/libs/rpc"
)

const (
	// maxRequests bounds the requests that are remembered; the oldest is forgotten first.
	maxRequests = 1000
	// maxRequestID bounds an identity.
	maxRequestID = 128
)

// Request is one that was carried out.
type Request struct {
	// ID is what the caller calls it.
	ID string `json:"id"`
	// Content tells whether another request with the ID asks for the same.
	Content uint64 `json:"content"`
}

// identified is a request that a retry can be told by.
type identified interface {
	proto.Message
	GetRequestId() string
}

// Once carries a request out unless that was done before, also before a restart. A second one that comes meanwhile waits for
// the first. A request without an ID is carried out each time; one that failed may be tried again. A crash between the deed
// and the note of it leaves a deed that is done again: what is carried out here bears that.
func (j *Journal) Once(request identified, do func() error) error {
	id := request.GetRequestId()
	if id == "" {
		return do()
	}
	if len(id) > maxRequestID {
		return &rpc.FieldError{Field: "request_id", Problem: fmt.Sprintf("has %d bytes, more than %d", len(id), maxRequestID)}
	}
	content := rpc.Fingerprint(request)
	ended, known, err := j.begin(id, content)
	if known || err != nil {
		return err
	}
	defer ended()
	if err := do(); err != nil {
		return err
	}
	return j.update(func(d *document) {
		d.Requests = append(d.Requests, Request{ID: id, Content: content})
		d.Requests = d.Requests[max(0, len(d.Requests)-maxRequests):]
	})
}

// begin waits until no request with the ID is under way, and says whether one was carried out. If not, ended must be called.
func (j *Journal) begin(id string, content uint64) (ended func(), known bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.underWay[id] != nil {
		wait := j.underWay[id]
		j.mu.Unlock()
		<-wait
		j.mu.Lock()
	}
	for _, r := range j.doc.Requests {
		switch {
		case r.ID != id:
		case r.Content != content:
			return nil, false, &rpc.FieldError{Field: "request_id", Problem: "was used for another request"}
		default:
			return nil, true, nil
		}
	}
	if j.underWay == nil {
		j.underWay = map[string]chan struct{}{}
	}
	done := make(chan struct{})
	j.underWay[id] = done
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.underWay, id)
		close(done)
	}, false, nil
}
