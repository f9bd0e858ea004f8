package edge

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// compressFrom is the size of the smallest answer that is worth compressing.
const compressFrom = 1 << 10

// finish holds the answer back until it is complete: only then is known whether the client has it already, which
// fields it wants, how long it is, and whether it is worth compressing.
func (e *edge) finish(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		held := &heldWriter{header: w.Header()}
		next.ServeHTTP(held, r)
		h := w.Header()
		if held.status == 0 {
			held.status = http.StatusOK
		}
		tag := h.Get("ETag")
		if r.Method == http.MethodGet && held.status == http.StatusOK && tag != "" && noneMatches(r.Header.Values("If-None-Match"), tag) {
			h.Del("Content-Type")
			h.Del("Content-Length")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		body := held.body.Bytes()
		if held.status == http.StatusOK && c.fields != nil {
			body = c.fields.apply(body)
		}
		send(w, r, held.status, body)
	})
}

var packers = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}

// send writes a complete answer, compressed if the client takes that and it is worth it. The entity tag names the state
// and not the bytes, so it is the same for both forms.
func send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	if len(body) >= compressFrom && takesGzip(r.Header.Values("Accept-Encoding")) {
		var packed bytes.Buffer
		z, _ := packers.Get().(*gzip.Writer) // the pool holds nothing else
		z.Reset(&packed)
		_, writeErr := z.Write(body)
		closeErr := z.Close()
		packers.Put(z)
		if writeErr == nil && closeErr == nil { // a buffer takes everything
			h.Set("Content-Encoding", "gzip")
			body = packed.Bytes()
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(body)
}

// packed lets a handler of a public document answer compressed.
func packed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := &heldWriter{header: w.Header()}
		next.ServeHTTP(held, r)
		if held.status == http.StatusNotModified {
			w.WriteHeader(held.status)
			return
		}
		send(w, r, max(held.status, http.StatusOK), held.body.Bytes())
	})
}

// takesGzip reads Accept-Encoding as RFC 9110 section 12.5.3.
func takesGzip(lines []string) bool {
	star := false
	for _, item := range strings.Split(strings.Join(lines, ","), ",") {
		coding, params, _ := strings.Cut(item, ";")
		name, q, _ := strings.Cut(strings.TrimSpace(params), "=")
		wanted := !strings.EqualFold(strings.TrimSpace(name), "q") || positive(strings.TrimSpace(q))
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip":
			return wanted
		case "*":
			star = wanted
		}
	}
	return star
}

// noneMatches reports whether the client has the representation: RFC 9110 section 13.1.2, weak comparison.
func noneMatches(lines []string, tag string) bool {
	for _, t := range strings.Split(strings.Join(lines, ","), ",") {
		t = strings.TrimSpace(t)
		if t == "*" || strings.TrimPrefix(t, "W/") == tag {
			return true
		}
	}
	return false
}

type heldWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heldWriter) Header() http.Header { return h.header }

func (h *heldWriter) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

func (h *heldWriter) Write(b []byte) (int, error) {
	if h.status == 0 {
		h.status = http.StatusOK
	}
	return h.body.Write(b)
}
