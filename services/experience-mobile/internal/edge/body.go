package edge

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

const jsonType = "application/json"

// mediaType refuses what is not JSON, in either direction.
func (e *edge) mediaType(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		switch {
		case c.route.stream && !accepts(r.Header.Values("Accept"), EventStream):
			e.refuse(w, r, e.problems.New(problem.NotAcceptable, "This route answers with text/event-stream only."))
		case !c.route.stream && !accepts(r.Header.Values("Accept"), jsonType):
			e.refuse(w, r, e.problems.New(problem.NotAcceptable, ""))
		case c.route.body != nil && !sendsJSON(r):
			w.Header().Set("Accept", jsonType)
			e.refuse(w, r, e.problems.New(problem.UnsupportedMediaType, ""))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func sendsJSON(r *http.Request) bool {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return false
	}
	said := r.Header.Get("Content-Type")
	if said == jsonType {
		return true // as nearly every client has it
	}
	t, params, err := mime.ParseMediaType(said)
	if err != nil || (params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8")) {
		return false
	}
	return t == jsonType || (t == "application/merge-patch+json" && r.Method == http.MethodPatch)
}

// accepts reads Accept as RFC 9110 section 12.5.1: the most specific range that fits decides.
func accepts(lines []string, offered string) bool {
	if len(lines) == 0 || len(lines) == 1 && lines[0] == offered {
		return true
	}
	kind, _, _ := strings.Cut(offered, "/")
	best, accepted := -1, false
	for _, item := range strings.Split(strings.Join(lines, ","), ",") {
		t, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		rank := -1
		switch t {
		case offered:
			rank = 2
		case kind + "/*":
			rank = 1
		case "*/*":
			rank = 0
		}
		if rank < 0 || rank < best {
			continue
		}
		best, accepted = rank, positive(params["q"])
	}
	return accepted
}

func positive(q string) bool {
	if q == "" {
		return true
	}
	v, err := strconv.ParseFloat(q, 64)
	return err == nil && v > 0
}

// readBody takes the whole body in before anything is done: a write must not begin with half a request. A client
// that dribbles is cut off when the budget is used up.
func (e *edge) readBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if r.ContentLength > e.o.MaxBody {
			e.tooLarge(w, r)
			return
		}
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		control := http.NewResponseController(w)
		// Not every writer has a connection (tests); then there is nothing to cut off.
		_ = control.SetReadDeadline(time.Now().Add(e.o.Budget))
		body, err := readSized(http.MaxBytesReader(w, r.Body, e.o.MaxBody), r.ContentLength)
		if err == nil {
			// Otherwise the deadline stays: the server reads on to end the connection in order, which must not last.
			_ = control.SetReadDeadline(time.Time{})
			keepConnection(w, r)
		}
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			e.tooLarge(w, r)
			return
		}
		if err != nil {
			e.refuse(w, r, e.problems.New(problem.BodyIncomplete, ""))
			return
		}
		c.body = body
		r.Body = holdBody(body)
		next.ServeHTTP(w, r)
	})
}

// keepConnection takes back that the connection ends with this answer, because the body is here. After a body in chunks it ends all the same:
// the server does not tell whether a length came with them, and who passed the request on may have believed the length (RFC 9112 section 6.1).
func keepConnection(w http.ResponseWriter, r *http.Request) {
	if len(r.TransferEncoding) == 0 {
		w.Header().Del("Connection")
	}
}

// sizedBelow is up to which size room is made for a body before it is here: more is made as it comes in, whatever was announced.
const sizedBelow = 4 << 10

// readSized reads everything, at once into as much room as is needed if the body is a small one of which the size is known.
func readSized(r io.Reader, announced int64) ([]byte, error) {
	if announced <= 0 || announced > sizedBelow {
		return io.ReadAll(r)
	}
	body := make([]byte, announced+1) // to meet the end
	n, err := io.ReadFull(r, body)
	if int64(n) == announced && errors.Is(err, io.ErrUnexpectedEOF) {
		return body[:n], nil
	}
	if err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(r)
	return append(body, rest...), err
}

func (e *edge) tooLarge(w http.ResponseWriter, r *http.Request) {
	e.refuse(w, r, e.problems.New(problem.BodyTooLarge, "The body is larger than "+strconv.FormatInt(e.o.MaxBody, 10)+" bytes."))
}

// deadline gives the request the budget of its route. Grpc-Timeout and the like are not read.
func (e *edge) deadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		budget := callOf(r.Context()).route.budget
		if budget > e.o.Budget {
			// What open has left for the answer is for the common one. Not every writer has a connection (tests).
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(budget + writeWithin))
		}
		ctx, cancel := context.WithTimeout(r.Context(), budget)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// headAsGet lets the rest see a GET; the server does not send the body of an answer to HEAD.
func (e *edge) headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r.Method = http.MethodGet // of the copy that deadline made
		}
		next.ServeHTTP(w, r)
	})
}

// noForm says that there is no form; it stays empty.
var noForm = url.Values{}

// strip leaves the mux nothing of the client's headers: what goes further was read, checked and is passed on
// explicitly (see metadata). Grpc-Metadata-*, Grpc-Timeout, cookies and method overrides end here.
func (e *edge) strip(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The copy that deadline made; what stands above it has read what it needs. There is one codec, so no header need ask for it.
		r.Header, r.RemoteAddr, r.Host = nil, "", ""
		if r.PostForm = noForm; r.URL.RawQuery == "" {
			r.Form = noForm // or the mux looks for one in the header
		}
		next.ServeHTTP(w, r)
	})
}
