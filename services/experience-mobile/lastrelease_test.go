package experiencemobile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
)

// What the edge asked the process service, what it was answered and what apps were answered then, and the contracts of that
// time: both are made by `make requests`.
const (
	lastContracts = "../../proto/baseline/requests.binpb"
	lastRequests  = "../../proto/baseline/requests.json"
)

// step is one request of an app, what the edge asked for it, and what the app was answered.
type step struct {
	Verb   string            `json:"verb"`
	Path   string            `json:"path"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
	Calls  []recordedCall    `json:"calls,omitempty"`
	Status int               `json:"status"`
	// Answered are the headers of the answer that apps use.
	Answered map[string]string `json:"answered,omitempty"`
	// Answer is the body, for a stream the data of its first event.
	Answer json.RawMessage `json:"answer"`
}

// streams reports whether the answer does not end by itself.
func (s step) streams() bool { return strings.HasSuffix(s.Path, "/events") }

// recordedCall is one call: it has a response or an error, a google.rpc.Status.
type recordedCall struct {
	Method   string          `json:"method"`
	Request  json.RawMessage `json:"request"`
	Response json.RawMessage `json:"response,omitempty"`
	Error    json.RawMessage `json:"error,omitempty"`
}

// TestLastRelease: a deployment goes from the bottom up and may stop half way, so today's edge works with the process service
// of the last release: it asks for nothing that this does not know, and answers apps as before. The other way round, today's
// process service with the last edge, is TestLastEdge of the suite.
func TestLastRelease(t *testing.T) {
	if !*record {
		t.Parallel()
	}
	files, err := lastFiles()
	require.NoError(t, err)
	steps := recordedSteps(t)
	replaySteps(t, files, steps)
	if *record {
		require.False(t, t.Failed(), "refused: today's edge does not work with what is recorded")
		recordSteps(t, files, steps)
	}
}

func recordedSteps(t *testing.T) []step {
	t.Helper()
	text, err := os.ReadFile(lastRequests)
	require.NoError(t, err)
	var steps []step
	require.NoError(t, json.Unmarshal(text, &steps))
	require.NotEmpty(t, steps)
	return steps
}

// replaySteps plays the requests of the last release to today's edge over the process service of the last release.
func replaySteps(t *testing.T, files *protoregistry.Files, steps []step) {
	t.Helper()
	old := &lastProcess{files: files}
	w := &world{idp: newProvider(t), log: &telemetrytest.Log{}}
	w.target = startStub(t, grpc.UnknownServiceHandler(old.handle))
	w.serve(t)
	for _, s := range steps {
		t.Run(s.Verb+" "+s.Path, func(t *testing.T) {
			old.expect(s.Calls, s.streams())
			now := w.play(t, s)
			require.Empty(t, old.wrong(), "the last release does not know what it is asked")
			require.Empty(t, changed(s, now), "an app of the last release misses something")
		})
	}
}

// TestLastRelease_Older: what the process service does not know yet is this deployment's trouble and not the app's.
func TestLastRelease_Older(t *testing.T) {
	t.Parallel()
	w := &world{idp: newProvider(t), log: &telemetrytest.Log{}}
	w.target = startStub(t) // knows nothing at all
	w.serve(t)
	w.do(t, "GET", "/v1/products/pump/availability").problem(t, 500, "INTERNAL")
}

// play sends the request of a step and returns it with today's answer.
func (w *world) play(t *testing.T, s step) step {
	t.Helper()
	options := []option{rawKey("a-key-of-the-last-release"), with("X-Request-Id", "a-request-of-the-last-release")}
	if s.Body != "" {
		options = append(options, body(s.Body))
	}
	for name, value := range s.Header {
		options = append(options, with(name, value))
	}
	var a answer
	if s.streams() {
		events := w.open(t, strings.Split(s.Path, "/")[3], options...)
		a = answer{status: events.resp.StatusCode, header: events.resp.Header, body: events.next(t).data}
		events.close()
	} else {
		a = w.send(t, s.Verb, s.Path, options...)
	}
	s.Status, s.Answer, s.Answered, s.Calls = a.status, json.RawMessage(a.body), map[string]string{}, nil
	for _, name := range []string{"Content-Type", "ETag", "Location", "Retry-After", "X-Error-Code", "Preference-Applied", "Deprecation", "Sunset"} {
		if v := a.header.Get(name); v != "" {
			s.Answered[name] = v
		}
	}
	return s
}

// changed names what an app of the last release was answered and would not be now.
func changed(then, now step) []string {
	var out []string
	if then.Status != now.Status {
		out = append(out, fmt.Sprintf("the status, now %d", now.Status))
	}
	for name, v := range then.Answered {
		// A tag is opaque, and waiting may take longer than it did; the others mean what they say.
		if now.Answered[name] != v && (name != "ETag" && name != "Retry-After" || now.Answered[name] == "") {
			out = append(out, "the header "+name)
		}
	}
	var want, got any
	if json.Unmarshal(then.Answer, &want) != nil || json.Unmarshal(now.Answer, &got) != nil {
		return append(out, "a body that is JSON")
	}
	return append(out, lost("", want, got)...)
}

// opaque are members whose text may change: tokens, and what a problem tells people and not programs.
var opaque = map[string]bool{"syncToken": true, "nextPageToken": true, "requestId": true, "instance": true, "title": true, "detail": true}

// lost returns what is in an answer of the last release and not, or otherwise, in today's.
func lost(at string, want, got any) []string {
	var out []string
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			return []string{at}
		}
		for name, v := range want {
			switch {
			case !opaque[name]:
				out = append(out, lost(at+"/"+name, v, have[name])...)
			case (v == "") != (have[name] == ""), have[name] == nil:
				out = append(out, at+"/"+name)
			}
		}
		return out
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) && (len(want) == 0 || !words(want)) {
			return []string{at}
		}
		for i := range want {
			if words(want) { // one more does not disturb: /v1/meta lists what there is
				if !slices.Contains(have, want[i]) {
					out = append(out, at)
				}
				continue
			}
			out = append(out, lost(at, want[i], have[i])...)
		}
		return out
	}
	if !reflect.DeepEqual(want, got) {
		return []string{at}
	}
	return nil
}

func words(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool { _, ok := v.(string); return !ok })
}

func lastFiles() (*protoregistry.Files, error) {
	raw, err := os.ReadFile(lastContracts)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		return nil, err
	}
	return protodesc.NewFiles(&set)
}

// lastProcess is the process service of the last release, as far as its contracts and what was recorded go.
type lastProcess struct {
	files *protoregistry.Files

	mu    sync.Mutex
	calls []recordedCall
	again bool           // each may be asked again: a stream looks until it ends
	late  []recordedCall // those of streams, whose end the edge may hear of later
	fails []string
}

func (l *lastProcess) expect(calls []recordedCall, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.again {
		l.late = append(l.late, l.calls...)
	}
	l.calls, l.again, l.fails = slices.Clone(calls), again, nil
}

func (l *lastProcess) wrong() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fails
}

func (l *lastProcess) fail(what string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails = append(l.fails, what)
	return status.Error(codes.Unimplemented, what)
}

func (l *lastProcess) handle(_ any, stream grpc.ServerStream) error {
	full, _ := grpc.MethodFromServerStream(stream)
	m, ok := methodOf(l.files, full)
	if !ok {
		return l.fail(full)
	}
	req := dynamicpb.NewMessage(m.Input())
	if err := stream.RecvMsg(req); err != nil {
		return err
	}
	if strange := unknown(req); len(strange) > 0 {
		return l.fail(full + ": unknown fields in " + strings.Join(strange, ", "))
	}
	recorded, ok := l.take(m, req)
	if !ok {
		return l.fail(full + ": not asked before, or for something else")
	}
	if recorded.Error != nil {
		var failed spb.Status
		if err := protojson.Unmarshal(recorded.Error, &failed); err != nil {
			return l.fail(full + ": " + err.Error())
		}
		return status.ErrorProto(&failed)
	}
	resp := dynamicpb.NewMessage(m.Output())
	if err := protojson.Unmarshal(recorded.Response, resp); err != nil {
		return l.fail(full + ": " + err.Error())
	}
	return stream.SendMsg(resp)
}

// take returns the first expected call of a method with this request.
func (l *lastProcess) take(m protoreflect.MethodDescriptor, req proto.Message) (recordedCall, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := func(c recordedCall) bool {
		want := dynamicpb.NewMessage(m.Input())
		return c.Method == fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name()) && protojson.Unmarshal(c.Request, want) == nil && proto.Equal(want, req)
	}
	i := slices.IndexFunc(l.calls, asked)
	if i < 0 {
		if i = slices.IndexFunc(l.late, asked); i >= 0 {
			return l.late[i], true
		}
		return recordedCall{}, false
	}
	c := l.calls[i]
	if !l.again {
		l.calls = slices.Delete(l.calls, i, i+1)
	}
	return c, true
}

// unknown names the messages with fields that their contract does not have.
func unknown(m protoreflect.ProtoMessage) []string {
	found := map[string]bool{}
	var walk func(m protoreflect.Message)
	walk = func(m protoreflect.Message) {
		if len(m.GetUnknown()) > 0 {
			found[string(m.Descriptor().FullName())] = true
		}
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.Message() == nil || f.IsMap():
			case f.IsList():
				for i := range v.List().Len() {
					walk(v.List().Get(i).Message())
				}
			default:
				walk(v.Message())
			}
			return true
		})
	}
	walk(m.ProtoReflect())
	return slices.Sorted(maps.Keys(found))
}

func methodOf(files *protoregistry.Files, full string) (protoreflect.MethodDescriptor, bool) {
	d, err := files.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(full, "/"), "/", ".")))
	m, ok := d.(protoreflect.MethodDescriptor)
	return m, err == nil && ok
}

// startStub serves gRPC that is not a service of the suite.
func startStub(t *testing.T, o ...grpc.ServerOption) string {
	t.Helper()
	return serveStub(t, grpc.NewServer(o...))
}

func serveStub(t *testing.T, srv *grpc.Server) string {
	t.Helper()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	l := listen(t)
	background(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, srv.Stop)()
		return srv.Serve(l)
	})
	return l.Addr().String()
}
