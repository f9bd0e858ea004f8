package idempotent

import (
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// DefaultHeaders are the response headers that are kept with an answer unless Options.Headers says otherwise. What
// belongs to one exchange (a date, a rate limit, a trace, a cookie) must not be among them.
func DefaultHeaders() []string { return []string{"content-language", "location", "etag"} }

// stream holds back the headers of a handler until its outcome is known: they can then be kept, and on an error they
// leave as trailers, because a header would switch off the client's own retries.
type stream struct {
	grpc.ServerTransportStream
	mu      sync.Mutex
	header  metadata.MD
	trailer metadata.MD
	sent    bool
}

// SetHeader implements grpc.ServerTransportStream.
func (s *stream) SetHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent {
		return s.ServerTransportStream.SetHeader(md) // says what is wrong
	}
	s.header = metadata.Join(s.header, md)
	return nil
}

// SendHeader implements grpc.ServerTransportStream.
func (s *stream) SendHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header, s.sent = metadata.Join(s.header, md), true
	return s.ServerTransportStream.SendHeader(s.header)
}

// SetTrailer implements grpc.ServerTransportStream.
func (s *stream) SetTrailer(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailer = metadata.Join(s.trailer, md)
	return s.ServerTransportStream.SetTrailer(md)
}

// flush passes on what was held back, and that the call was executed.
func (s *stream) flush(failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	md := metadata.MD{}
	if !s.sent {
		md = metadata.Join(s.header, md)
	}
	md.Set(StatusMetadata, StatusExecuted)
	s.sent = true
	// Fails only if the exchange is over: then there is nobody to tell.
	if failed {
		_ = s.ServerTransportStream.SetTrailer(md)
	} else {
		_ = s.ServerTransportStream.SetHeader(md)
	}
}

// kept returns what the handler said under the given names.
func (s *stream) kept(names map[string]bool) metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out metadata.MD
	for _, md := range []metadata.MD{s.header, s.trailer} {
		for name, values := range md {
			if names[name] {
				if out == nil {
					out = metadata.MD{}
				}
				out[name] = append(out[name], values...)
			}
		}
	}
	return out
}

func headerSet(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[strings.ToLower(n)] = true
	}
	return out
}

// nowhere is the stream of a call that did not come through a transport.
type nowhere struct{ method string }

func (n nowhere) Method() string             { return n.method }
func (nowhere) SetHeader(metadata.MD) error  { return nil }
func (nowhere) SendHeader(metadata.MD) error { return nil }
func (nowhere) SetTrailer(metadata.MD) error { return nil }
