package edge

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// finish holds the answer back until it is complete, so that its length is known and a representation the client
// already has is not sent again.
func (e *edge) finish(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		h.Set("Content-Length", strconv.Itoa(held.body.Len()))
		w.WriteHeader(held.status)
		// The client may be gone; there is nobody to tell.
		_, _ = w.Write(held.body.Bytes())
	})
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
