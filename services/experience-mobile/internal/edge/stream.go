package edge

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/selfsame-io/selfsame/pkg/fault"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// EventStream is the media type of server-sent events.
const EventStream = "text/event-stream"

// eventsTemplate is the one route that answers with a stream.
const eventsTemplate = "/v1/orders/{order_id}/events"

// Streams bounds event streams. The zero value means the defaults.
type Streams struct {
	// Poll is how often an order that somebody follows is looked at; 2 s when zero.
	Poll time.Duration
	// Heartbeat is the longest silence; 15 s when zero.
	Heartbeat time.Duration
	// Patience is how long the answer waits for the order before it begins without; 100 ms when zero.
	Patience time.Duration
	// Most are the streams of this process; 2,000 when zero. PerCaller are those of one caller; 10 when zero.
	Most, PerCaller int
	// Remember is how old the id of an event may be with which a stream goes on; 24 hours when zero.
	Remember time.Duration
	// Draining is closed when this process is to end.
	Draining <-chan struct{}
}

func (s Streams) withDefaults() Streams {
	if s.Poll <= 0 {
		s.Poll = 2 * time.Second
	}
	if s.Heartbeat <= 0 {
		s.Heartbeat = 15 * time.Second
	}
	if s.Patience <= 0 {
		s.Patience = 100 * time.Millisecond
	}
	if s.Most <= 0 {
		s.Most = 2000
	}
	if s.PerCaller <= 0 {
		s.PerCaller = 10
	}
	if s.Remember <= 0 {
		s.Remember = 24 * time.Hour
	}
	return s
}

const (
	// writeWithin is how long a client may take to accept what is sent to it.
	writeWithin = 10 * time.Second
	// reconnect is when a client comes back after a break, in milliseconds; drained is that at a deployment.
	reconnect = 3000
	drained   = 1000
	// alive is what a silent stream says, to whoever stands between.
	alive = ": still here\n\n"
)

// MetaVersion comes back from reading an order: its version.
const MetaVersion = "selfsame-version"

// Version writes a version as metadata.
func Version(v int64) string { return strconv.FormatInt(v, 10) }

// stream serves the events of an order: its state now, and again whenever it has changed. An event carries the whole
// order, so one that was missed is made up for by the next; ids grow, so none is told twice.
func (e *edge) stream(next http.Handler) http.Handler {
	follow := e.checkQuery(http.HandlerFunc(e.follow))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if callOf(r.Context()).route.stream {
			follow.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (e *edge) follow(w http.ResponseWriter, r *http.Request) {
	c := callOf(r.Context())
	parts := strings.Split(r.URL.EscapedPath(), "/")
	id, err := url.PathUnescape(parts[len(parts)-2])
	if err != nil {
		e.refuse(w, r, e.problems.New(problem.PathInvalid, ""))
		return
	}
	if r.Method == http.MethodHead {
		if _, err := e.readOrder(r.Context(), c.principal, id); err != nil {
			e.refuse(w, r, e.problems.FromError(err, nowhere))
			return
		}
		w.Header().Set("Content-Type", EventStream)
		w.WriteHeader(http.StatusOK)
		return
	}
	if most := e.places.enter(c.principal.Subject); most > 0 {
		w.Header().Set("RateLimit-Policy", `"streams";q=`+strconv.Itoa(most)+`;qu="concurrent-requests"`)
		w.Header().Set("RateLimit", `"streams";r=0`)
		e.refuse(w, r, e.problems.New(fault.ReasonExhausted, "There are too many open streams."))
		return
	}
	defer e.places.leave(c.principal.Subject)
	s := &feed{edge: e, request: r, call: c, order: id, out: w, control: http.NewResponseController(w), heartbeat: time.NewTicker(e.o.Streams.Heartbeat)}
	defer s.heartbeat.Stop()
	first, err := s.first()
	switch {
	case err != nil && !s.open:
		e.refuse(w, r, e.problems.FromError(err, nowhere))
		return
	case err != nil:
		_ = s.problem(e.problems.FromError(err, nowhere)) // the client may be gone; there is nobody to tell
	default:
		followed, leave := e.hub.follow(r.Context(), c.principal, first, id)
		defer leave()
		s.run(first, followed)
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(writeWithin)) // of what ends the answer: writing took off its own
}

// places counts open streams.
type places struct {
	most, perCaller int
	all             atomic.Int64
	byCaller        *tally
}

// enter returns zero for who has a place now, otherwise how many there are of what there is no more.
func (p *places) enter(caller string) int {
	if p.all.Add(1) > int64(p.most) {
		p.all.Add(-1)
		return p.most
	}
	if !p.byCaller.add(caller, p.perCaller) {
		p.all.Add(-1)
		return p.perCaller
	}
	return 0
}

func (p *places) leave(caller string) {
	p.all.Add(-1)
	p.byCaller.drop(caller)
}

// feed is one open stream.
type feed struct {
	edge    *edge
	request *http.Request
	call    *call
	order   string
	out     http.ResponseWriter
	control *http.ResponseController
	// heartbeat is how long the client hears nothing at most.
	heartbeat *time.Ticker
	open      bool  // the answer has begun
	sent      int64 // version that the client has
}

// seenOrder is an order as it was read.
type seenOrder struct {
	order   *mobilev1.Order
	version int64
}

// readOrder reads an order as a caller sees it.
func (e *edge) readOrder(ctx context.Context, p auth.Principal, order string) (seenOrder, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Budget)
	defer cancel()
	ctx = context.WithValue(ctx, callKey{}, &call{id: callOf(ctx).id, principal: p})
	var header metadata.MD
	got, err := e.orders.FindOrder(metadata.NewOutgoingContext(ctx, metadataOf(ctx, nil)), &mobilev1.FindOrderRequest{OrderId: order}, grpc.Header(&header))
	if err != nil {
		return seenOrder{}, err
	}
	version, err := strconv.ParseInt(first(header, MetaVersion), 10, 64)
	if err != nil {
		return seenOrder{}, fault.New(fault.Internal, "", "the order has no version")
	}
	return seenOrder{got.GetOrder(), version}, nil
}

// first reads the order: each caller does so once, because whether they may is theirs to be told. The headers of the answer do not wait
// for a system that is slow: then the answer begins without an event.
func (s *feed) first() (seenOrder, error) {
	var order seenOrder
	var err error
	read := make(chan struct{})
	go func() {
		defer close(read)
		order, err = s.edge.readOrder(s.request.Context(), s.call.principal, s.order)
	}()
	patience := time.NewTimer(s.edge.o.Streams.Patience)
	defer patience.Stop()
	select {
	case <-read:
		return order, err
	case <-patience.C:
	}
	failed := s.begun()
	if failed == nil {
		failed = s.write(": the order is being read\n\n")
	}
	for {
		select {
		case <-s.heartbeat.C:
			if failed == nil {
				failed = s.write(alive)
			}
		case <-read:
			if failed != nil {
				return seenOrder{}, failed
			}
			return order, err
		}
	}
}

// begun begins the answer, unless it has begun.
func (s *feed) begun() error {
	if s.open {
		return nil
	}
	s.open = true
	h := s.out.Header()
	h.Set("Content-Type", EventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	s.out.WriteHeader(http.StatusOK)
	return s.write("retry: " + strconv.Itoa(reconnect) + "\n\n")
}

func (s *feed) run(now seenOrder, followed *watch) {
	limits := s.edge.o.Streams
	ctx := s.request.Context()
	ended, stop := context.WithDeadlineCause(ctx, s.call.principal.Expires, errExpired)
	defer stop()
	if s.begun() != nil || s.begin(now) != nil {
		return
	}
	for {
		latest, changed, failed := s.edge.hub.state(followed)
		if err := s.tell(latest, failed); err != nil {
			return
		}
		var err error
		select {
		case <-ended.Done():
			if errors.Is(context.Cause(ended), errExpired) {
				// The client may be gone as well; there is nobody to tell.
				_ = s.problem(s.edge.problems.New(problem.TokenInvalid, "The token has expired; connect again with a new one."))
			}
			return
		case <-limits.Draining:
			_ = s.write("retry: " + strconv.Itoa(drained) + "\n\n")
			return
		case <-s.heartbeat.C:
			err = s.write(alive)
		case <-changed:
		}
		if err != nil {
			return
		}
	}
}

var errExpired = errors.New("the token has expired")

// begin tells the client what it does not have yet.
func (s *feed) begin(now seenOrder) error {
	last := s.request.Header.Get("Last-Event-ID")
	if last == "" {
		return s.event(now)
	}
	have, ok := s.parse(last)
	switch {
	case !ok || have > now.version:
		// What the client has is not known, or is from an order that is no longer there: it begins anew.
		if err := s.write("event: reset\ndata: {}\n\n"); err != nil {
			return err
		}
		return s.event(now)
	case have < now.version:
		return s.event(now)
	}
	s.sent = have
	return nil
}

// tell sends what the client does not have yet, and ends the stream if there will be no more.
func (s *feed) tell(latest seenOrder, failed error) error {
	if failed != nil {
		return errors.Join(errEnded, s.problem(s.edge.problems.FromError(failed, nowhere)))
	}
	if latest.version > s.sent {
		return s.event(latest)
	}
	return nil
}

var errEnded = errors.New("the stream has ended")

func (s *feed) event(now seenOrder) error {
	data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(now.order)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	s.sent = now.version
	return s.write("event: order\nid: " + s.id(now.version) + "\ndata: " + string(oneLine(data)) + "\n\n")
}

// oneLine takes out line breaks, which would end the event.
func oneLine(data []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, data) != nil {
		return bytes.ReplaceAll(data, []byte("\n"), nil)
	}
	return out.Bytes()
}

func (s *feed) problem(p problem.Problem) error {
	p.RequestID = s.call.id
	p.Instance = "urn:selfsame:request:" + s.call.id
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write problem: %w", err)
	}
	return s.write("event: problem\ndata: " + string(data) + "\n\n")
}

func (s *feed) write(text string) error {
	// Not every writer has a connection (tests); then there is nothing to cut off.
	_ = s.control.SetWriteDeadline(time.Now().Add(writeWithin))
	if _, err := s.out.Write([]byte(text)); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	// HTTP/2 ends a stream at its deadline though nothing is being written: silence must not be taken for a client that is slow.
	_ = s.control.SetWriteDeadline(time.Time{})
	return nil
}

// id names an event: which order, which version, when. It authorizes nothing; the order is read anew.
func (s *feed) id(version int64) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "1.%s.%d.%d", s.mark(), version, time.Now().Unix()))
}

// mark tells orders apart, so that the id of another order's event is not taken for one of this.
func (s *feed) mark() string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.order)) // a hash takes everything
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}

func (s *feed) parse(id string) (int64, bool) {
	text, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		return 0, false
	}
	parts := strings.Split(string(text), ".")
	if len(parts) != 4 || parts[0] != "1" || parts[1] != s.mark() {
		return 0, false
	}
	version, versionErr := strconv.ParseInt(parts[2], 10, 64)
	at, timeErr := strconv.ParseInt(parts[3], 10, 64)
	if versionErr != nil || timeErr != nil || version < 0 || time.Since(time.Unix(at, 0)) > s.edge.o.Streams.Remember {
		return 0, false
	}
	return version, true
}

// eventsRoute is the route of the stream.
func eventsRoute() *route {
	return &route{
		verb: http.MethodGet, template: eventsTemplate, segments: []string{"v1", "orders", "", "events"}, scope: auth.ScopeRead, stream: true,
	}
}
