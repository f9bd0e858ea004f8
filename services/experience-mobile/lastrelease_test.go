package experiencemobile_test

import (
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
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

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
)

// The contracts and the recorded requests of the last release; both are made by `make baseline`.
const (
	lastContracts = "../../proto/baseline/contracts.binpb"
	lastRequests  = "../../proto/baseline/requests.json"
)

var record = flag.Bool("record", false, "record the requests of this release for the tests of the next")

// step is one request of an app, what the edge asked for it, and what the app was answered.
type step struct {
	Verb   string          `json:"verb"`
	Path   string          `json:"path"`
	Body   string          `json:"body,omitempty"`
	Calls  []recordedCall  `json:"calls"`
	Status int             `json:"status"`
	Answer json.RawMessage `json:"answer"`
}

type recordedCall struct {
	Method   string          `json:"method"`
	Request  json.RawMessage `json:"request"`
	Response json.RawMessage `json:"response"`
}

// TestLastRelease: a deployment goes from the bottom up and may stop half way, so today's edge works with the process service
// of the last release: it asks for nothing that this does not know, and answers apps as before. The other way round, today's
// process service with the last edge, is TestLastEdge of the suite.
func TestLastRelease(t *testing.T) {
	t.Parallel()
	if *record {
		recordSteps(t)
	}
	files, err := lastFiles()
	require.NoError(t, err)
	text, err := os.ReadFile(lastRequests)
	require.NoError(t, err)
	var steps []step
	require.NoError(t, json.Unmarshal(text, &steps))
	require.NotEmpty(t, steps)
	old := &lastProcess{files: files}
	w := &world{idp: newProvider(t), log: &lockedBuffer{}}
	w.target = startStub(t, grpc.UnknownServiceHandler(old.handle))
	w.serve(t)
	for _, s := range steps {
		t.Run(s.Verb+" "+s.Path, func(t *testing.T) {
			old.expect(s.Calls)
			a := w.play(t, s)
			require.Empty(t, old.wrong(), "the last release does not know what it is asked")
			require.Equal(t, s.Status, a.status, a.body)
			var want, got any
			require.NoError(t, json.Unmarshal(s.Answer, &want))
			require.NoError(t, json.Unmarshal([]byte(a.body), &got))
			require.Empty(t, lost("", want, got), "an app of the last release misses something")
		})
	}
}

// TestLastRelease_Older: what the process service does not know yet is this deployment's trouble and not the app's.
func TestLastRelease_Older(t *testing.T) {
	t.Parallel()
	w := &world{idp: newProvider(t), log: &lockedBuffer{}}
	w.target = startStub(t) // knows nothing at all
	w.serve(t)
	w.do(t, "GET", "/v1/products/pump/availability").problem(t, 500, "INTERNAL")
}

// play sends the request of a step.
func (w *world) play(t *testing.T, s step) answer {
	t.Helper()
	options := []option{rawKey("a-key-of-the-last-release")}
	if s.Body != "" {
		options = append(options, body(s.Body))
	}
	return w.send(t, s.Verb, s.Path, options...)
}

// lost returns what is in an answer of the last release and not, or otherwise, in today's. Tokens are opaque and may change.
func lost(at string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			return []string{at}
		}
		var out []string
		for name, v := range want {
			if name != "syncToken" && name != "nextPageToken" {
				out = append(out, lost(at+"/"+name, v, have[name])...)
			}
		}
		return out
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			return []string{at}
		}
		var out []string
		for i := range want {
			out = append(out, lost(at, want[i], have[i])...)
		}
		return out
	}
	if !reflect.DeepEqual(want, got) {
		return []string{at}
	}
	return nil
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
	fails []string
}

func (l *lastProcess) expect(calls []recordedCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls, l.fails = slices.Clone(calls), nil
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
	recorded, ok := l.take(full)
	if !ok {
		return l.fail(full + ": not asked before")
	}
	want := dynamicpb.NewMessage(m.Input())
	if err := protojson.Unmarshal(recorded.Request, want); err != nil || !proto.Equal(want, req) {
		return l.fail(full + ": asked for something else")
	}
	resp := dynamicpb.NewMessage(m.Output())
	if err := protojson.Unmarshal(recorded.Response, resp); err != nil {
		return l.fail(full + ": " + err.Error())
	}
	return stream.SendMsg(resp)
}

// take returns the first expected call of a method.
func (l *lastProcess) take(method string) (recordedCall, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.calls, func(c recordedCall) bool { return c.Method == method })
	if i < 0 {
		return recordedCall{}, false
	}
	c := l.calls[i]
	l.calls = slices.Delete(l.calls, i, i+1)
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

// knows reports whether contracts know a call and everything in its request.
func knows(files *protoregistry.Files, c recordedCall) bool {
	m, ok := methodOf(files, c.Method)
	return ok && protojson.Unmarshal(c.Request, dynamicpb.NewMessage(m.Input())) == nil
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

// recordSteps plays today's requests against today's fake and writes what was said.
func recordSteps(t *testing.T) {
	t.Helper()
	var mu sync.Mutex
	var calls []recordedCall
	tape := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		resp, err := handler(ctx, req)
		if err != nil || !strings.HasPrefix(info.FullMethod, "/selfsame.") {
			return resp, err
		}
		in, err := protojson.Marshal(req.(proto.Message)) //nolint:forcetypeassert // gRPC's
		if err != nil {
			return nil, err
		}
		out, err := protojson.Marshal(resp.(proto.Message)) //nolint:forcetypeassert // gRPC's
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, recordedCall{info.FullMethod, in, out})
		return resp, err
	}
	srv := grpc.NewServer(grpc.UnaryInterceptor(tape))
	f := newFake()
	customerv1.RegisterCustomerServiceServer(srv, f)
	customerv1.RegisterScreenServiceServer(srv, f)
	w := &world{idp: newProvider(t), log: &lockedBuffer{}}
	w.target = serveStub(t, srv)
	w.serve(t)
	const customer = "/v1/customers/" + known
	steps := []step{
		{Verb: "GET", Path: customer},
		{Verb: "GET", Path: customer + "?summary=true"},
		{Verb: "GET", Path: "/v1/customers?pageSize=2"},
		{Verb: "GET", Path: customer + "/contacts"},
		{Verb: "GET", Path: customer + "/orders?pageSize=5"},
		{Verb: "GET", Path: customer + "/cases?openOnly=true"},
		{Verb: "GET", Path: "/v1/products/pump/availability"},
		{Verb: "GET", Path: "/v1/sync/customers?pageSize=3"},
		{Verb: "POST", Path: "/v1/customers", Body: `{"name":"Golden GmbH","email":"a@golden.example","address":{"street":"S 1","city":"Bonn","postalCode":"53111","country":"DE"}}`},
		{Verb: "POST", Path: "/v1/customers?validateOnly=true", Body: `{"name":"Checked GmbH"}`},
		{Verb: "PATCH", Path: customer, Body: `{"phone":null,"website":"https://golden.example"}`},
		{Verb: "POST", Path: "/v1/orders", Body: `{"customerId":"` + known + `","items":[{"sku":"pump","quantity":"2"}],"purchaseOrder":"PO 1"}`},
		{Verb: "GET", Path: "/v1/orders/S1"},
		{Verb: "GET", Path: customer + "/orders/S1"},
		{Verb: "POST", Path: "/v1/cases", Body: `{"customerId":"` + known + `","subject":"It drips","description":"since yesterday"}`},
		{Verb: "POST", Path: "/v1/sync:apply", Body: `{"mutations":[{"key":"a-key-of-the-last-release","kind":"PLACE_ORDER","order":{"customerId":"` + known + `","items":[{"sku":"pump","quantity":"1"}]}}]}`},
		{Verb: "POST", Path: "/v1/orders/S1/cancellation", Body: `{}`},
	}
	for i := range steps {
		s := &steps[i]
		a := w.play(t, *s)
		require.Less(t, a.status, 300, "%s %s: %s", s.Verb, s.Path, a.body)
		mu.Lock()
		s.Status, s.Answer, s.Calls, calls = a.status, json.RawMessage(a.body), calls, nil
		mu.Unlock()
	}
	files, err := lastFiles()
	require.NoError(t, err)
	steps = slices.DeleteFunc(steps, func(s step) bool {
		return slices.ContainsFunc(s.Calls, func(c recordedCall) bool { return !knows(files, c) })
	})
	text, err := json.MarshalIndent(steps, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(lastRequests, append(text, '\n'), 0o644)) //nolint:gosec // part of the repository
}
