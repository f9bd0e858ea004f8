// Package target holds what the systems below offer themselves so that a repeated call has one effect: the last yard
// behind the keys of pkg/idempotent.
//
//	Upsert      the record has a natural key, and the target writes by it
//	Unique      the effect is a row in our own database under a unique constraint
//	Header      the target takes an idempotency key in a header (Stripe, Zuora, NetSuite, the IETF draft)
//	Repeatable  the target knows OASIS Repeatable Requests (SAP, Microsoft)
//	Guard       the target offers nothing but a search: claim, look up, create, record
//	Memo        there is no effect, only a result that is expensive to compute twice
//
// The invariant: Do with the same key and the same request, from any number of replicas, after any crash and any number of
// times, has at most one effect, and whoever is answered gets the result of that one. When it cannot be known whether the
// effect happened, the error is of kind Uncertain, and calling again with the same key finds out. A key that was used for
// another request is refused, and so is one that is older than the target remembers: repeating it would be a new effect.
//
// What each of them cannot do is said at its type. None of them protects from somebody who writes without them.
package target

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Reasons of this package; those it shares with pkg/idempotent have the same words.
const (
	ReasonKeyReused    = "IDEMPOTENCY_KEY_REUSED"
	ReasonKeyExpired   = "IDEMPOTENCY_KEY_EXPIRED"
	ReasonInProgress   = "IDEMPOTENCY_IN_PROGRESS"
	ReasonResultGone   = "IDEMPOTENCY_RESULT_GONE"
	ReasonNotSupported = "IDEMPOTENCY_NOT_SUPPORTED"
)

// Effect is one kind of effect at a target.
type Effect[Req, Res any] interface {
	// Do has the effect that req asks for, once per key. Key is a child key of the call that wants it
	// (idempotent.Child, idempotent.ChildOf), so that every attempt brings the same.
	Do(ctx context.Context, key string, req Req) (Res, error)
}

// Request is an HTTP request that can be sent again.
type Request struct {
	// Method and URL say what to call, Header and Body with what.
	Method, URL string
	Header      http.Header
	Body        []byte
	// FirstSent is when the effect was first wanted, the same in every attempt: store it with the intent. Zero means
	// now, which is right for the first attempt only.
	FirstSent time.Time
}

// Response is a final answer of the target.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Replayed is true if the target says that it had done this before.
	Replayed bool
}

// maxResponse bounds what is read of an answer.
const maxResponse = 8 << 20

// send sends once. An error means that no whole answer came; it is NotSent if nothing can have arrived.
func send(ctx context.Context, client *http.Client, r Request, extra http.Header) (Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return Response{}, fault.Wrap(fault.Invalid, "", err, "the request is not valid")
	}
	for _, h := range []http.Header{r.Header, extra} {
		for k, v := range h {
			req.Header[http.CanonicalHeaderKey(k)] = v
		}
	}
	// net/http repeats a request by itself when a connection broke if it takes it for idempotent; with a body that can be
	// read again it would do so for every request with an Idempotency-Key. The repeating is done here.
	req.GetBody = nil
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return Response{}, unsent(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err != nil {
		return Response{}, lost(err)
	}
	if len(body) > maxResponse {
		return Response{}, fault.New(fault.Internal, "", "the answer of the target is larger than %d bytes", maxResponse)
	}
	return Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// unsent tells a connection that was never made from one that broke.
func unsent(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fault.Wrap(fault.Unavailable, "", err, "the target cannot be reached")
	}
	return lost(err)
}

func lost(err error) error {
	return fault.Wrap(fault.Uncertain, fault.ReasonOutcomeUncertain, err, "the answer of the target was lost")
}

// retryAfter reads the header of the same name in seconds; zero if there is none.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// UUID makes a UUID of a key, for targets that take nothing else: version 8, the same for the same key.
func UUID(key string) string {
	b := sha256.Sum256([]byte("target/uuid/v1\x00" + key))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:16])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func reused() error {
	return fault.New(fault.Precondition, ReasonKeyReused, "the key was used for another request")
}

func expired(window time.Duration) error {
	return fault.New(fault.Precondition, ReasonKeyExpired, "the target remembers keys for %s; look the effect up before wanting it anew", window)
}

// refused is the answer of a target that says no for good.
func refused(r Response) error {
	kind := fault.Precondition
	switch r.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		kind = fault.Invalid
	case http.StatusUnauthorized:
		kind = fault.Unauthenticated
	case http.StatusForbidden:
		kind = fault.Forbidden
	case http.StatusNotFound, http.StatusGone:
		kind = fault.NotFound
	case http.StatusConflict:
		kind = fault.AlreadyExists
	}
	// The body is not repeated: it may hold what the request held.
	return fault.Wrap(kind, "", fmt.Errorf("status %d", r.Status), "the target refused the request")
}
