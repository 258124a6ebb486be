package rpc

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"

	"google.golang.org/protobuf/proto"
)

// PageSize applies the default and the maximum of a page; as in AIP-158, more than the maximum is no error.
func PageSize(asked int32, usual, most int) (int, error) {
	switch {
	case asked < 0:
		return 0, &FieldError{Field: "page_size", Problem: "is negative"}
	case asked == 0:
		return usual, nil
	default:
		return min(int(asked), most), nil
	}
}

// maxPageToken bounds a token that is read.
const maxPageToken = 4096

// pageToken says where a page ended and for which request.
type pageToken struct {
	Request  uint64 `json:"r"`
	Position string `json:"p"`
}

// PageToken makes an opaque token of the position where a page ended. request is the one being answered without its paging
// fields: only the same request may go on from there.
func PageToken(request proto.Message, position string) string {
	raw, err := json.Marshal(pageToken{Request: Fingerprint(request), Position: position})
	if err != nil {
		return "" // a number and a string always encode
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// PagePosition returns the position in a token, empty for the first page. The error is a FieldError of page_token.
func PagePosition(request proto.Message, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	var t pageToken
	unknown := &FieldError{Field: "page_token", Problem: "is not one that was handed out"}
	if len(token) > maxPageToken {
		return "", unknown
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || json.Unmarshal(raw, &t) != nil || t.Position == "" {
		return "", unknown
	}
	if t.Request != Fingerprint(request) {
		return "", &FieldError{Field: "page_token", Problem: "belongs to a request with other fields"}
	}
	return t.Position, nil
}

// Fingerprint tells requests of any kind apart by their fields.
func Fingerprint(request proto.Message) uint64 {
	h := fnv.New64a()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return 0 // a request that came over the wire encodes again
	}
	_, _ = h.Write([]byte(request.ProtoReflect().Descriptor().FullName())) // never fails
	_, _ = h.Write(raw)
	return h.Sum64()
}
