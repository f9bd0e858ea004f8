package edge

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzhttp"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// compressFrom is the size of the smallest answer that is worth compressing.
const compressFrom = 1 << 10

// compressing returns the step that compresses what is worth it for who takes it. The entity tag names the state and not
// the bytes, so it is the same for both forms.
func compressing() (step, error) {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(compressFrom), gzhttp.ContentTypes([]string{
		"application/json", problem.MediaType, "text/html; charset=utf-8",
	}))
	if err != nil {
		return nil, fmt.Errorf("compression: %w", err)
	}
	return func(next http.Handler) http.Handler { return wrap(next) }, nil
}

// finish holds the answer back until it is complete: only then is known whether the client has it already, which
// fields it wants and how long it is.
func (e *edge) finish(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		has := r.Header.Values("If-None-Match")
		held := heldWriters.Get().(*heldWriter) //nolint:forcetypeassert // holds nothing else
		held.header = w.Header()
		defer held.free()
		next.ServeHTTP(held, r)
		h := w.Header()
		if held.status == 0 {
			held.status = http.StatusOK
		}
		tag := h.Get("ETag")
		if r.Method == http.MethodGet && held.status == http.StatusOK && tag != "" && noneMatches(has, tag) {
			h.Del("Content-Type")
			h.Del("Content-Length")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		body := held.body.Bytes()
		if held.status == http.StatusOK && c.fields != nil {
			body = c.fields.apply(body)
		}
		c.lines.set(h, "Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(held.status)
		// The client may be gone; there is nobody to tell.
		_, _ = w.Write(body)
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

// heldWriters are those that no request has. What one holds is not referred to after finish.
var heldWriters = sync.Pool{New: func() any { return &heldWriter{} }}

// keptRoom bounds the room that is used again: few answers are larger, and they are not to be remembered by their size.
const keptRoom = 16 << 10

type heldWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heldWriter) free() {
	if h.body.Cap() > keptRoom {
		return
	}
	h.reset()
	heldWriters.Put(h)
}

func (h *heldWriter) reset() {
	h.header, h.status = nil, 0
	h.body.Reset()
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
