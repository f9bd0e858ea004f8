package experiencemobile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry/telemetrytest"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/conform"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

var record = flag.Bool("record", false, "record the requests of this release for the tests of the next")

// todaySteps are the requests that are recorded: every route, every method of the process service that the edge calls, and
// refusals that an app acts on. {…} stands for what an earlier answer gave.
func todaySteps() []step {
	const customer, order = "/v1/customers/" + known, `{"customerId":"` + known + `","items":[{"sku":"pump","quantity":"2"}],"purchaseOrder":"PO 1"}`
	const pending = `{"customerId":"` + uncertain + `","items":[{"sku":"pump","quantity":"1"}]}`
	const batch = `{"mutations":[` +
		`{"key":"a-key-of-the-last-phone:1","kind":"CREATE_CUSTOMER","customer":{"name":"Queued GmbH"}},` +
		`{"key":"a-key-of-the-last-phone:2","kind":"UPDATE_CUSTOMER","customerId":"` + known + `","customer":{"phone":"+49 228 3"},"fields":["phone"]},` +
		`{"key":"a-key-of-the-last-phone:3","kind":"PLACE_ORDER","order":{"customerId":"` + known + `","items":[{"sku":"pump","quantity":"1"}]}},` +
		`{"key":"a-key-of-the-last-phone:4","kind":"CANCEL_ORDER","orderId":"S1"},` +
		`{"key":"a-key-of-the-last-phone:5","kind":"OPEN_CASE","case":{"customerId":"` + known + `","subject":"It still drips"}}]}`
	const behind = `{"mutations":[` +
		`{"key":"a-key-of-the-last-phone:6","kind":"PLACE_ORDER","order":` + pending + `},` +
		`{"key":"a-key-of-the-last-phone:7","kind":"UPDATE_CUSTOMER","customerId":"` + known + `","customer":{"phone":"+49 228 4"},"fields":["phone"]}]}`
	return []step{
		{Verb: "GET", Path: "/v1/meta"},
		{Verb: "GET", Path: customer},
		{Verb: "GET", Path: customer + "?summary=true"},
		{Verb: "GET", Path: "/v1/customers?pageSize=2"},
		{Verb: "GET", Path: "/v1/customers?pageSize=2&pageToken={nextPageToken}"},
		{Verb: "GET", Path: "/v1/customers?namePrefix=Known"},
		{Verb: "GET", Path: customer + "/contacts"},
		{Verb: "GET", Path: customer + "/orders?pageSize=5"},
		{Verb: "POST", Path: "/v1/customers", Body: `{"name":"Golden GmbH","email":"a@golden.example","address":{"street":"S 1","city":"Bonn","postalCode":"53111","country":"DE"}}`},
		{Verb: "PATCH", Path: customer, Body: `{"phone":null,"website":"https://golden.example"}`},
		{Verb: "PATCH", Path: customer, Header: map[string]string{"If-Match": `"1"`}, Body: `{"phone":"+49 228 2"}`},
		{Verb: "POST", Path: "/v1/customers?validateOnly=true", Body: `{"name":"Checked GmbH"}`},
		{Verb: "PATCH", Path: customer + "?validateOnly=true", Body: `{"phone":"+49 228 2"}`},
		{Verb: "POST", Path: "/v1/orders?validateOnly=true", Body: order},
		{Verb: "POST", Path: "/v1/cases?validateOnly=true", Body: `{"customerId":"` + known + `","subject":"It drips"}`},
		{Verb: "POST", Path: "/v1/orders", Body: order},
		{Verb: "POST", Path: "/v1/orders/S1/cancellation?validateOnly=true", Body: `{}`},
		{Verb: "GET", Path: "/v1/orders/S1"},
		{Verb: "GET", Path: "/v1/orders/S1/events"},
		{Verb: "GET", Path: customer + "/orders/S1"},
		{Verb: "POST", Path: "/v1/orders", Header: map[string]string{"Prefer": "respond-async"}, Body: pending},
		{Verb: "GET", Path: "/v1/operations/op_0"},
		{Verb: "POST", Path: "/v1/cases", Body: `{"customerId":"` + known + `","subject":"It drips","description":"since yesterday"}`},
		{Verb: "GET", Path: customer + "/cases?openOnly=true"},
		{Verb: "GET", Path: "/v1/cases/500000000000000000"},
		{Verb: "GET", Path: "/v1/products/pump/availability"},
		{Verb: "GET", Path: "/v1/sync/customers?pageSize=5"},
		{Verb: "GET", Path: "/v1/sync/customers?pageSize=500&pageToken={nextPageToken}"},
		{Verb: "GET", Path: "/v1/sync/customers?syncToken={syncToken}"},
		{Verb: "POST", Path: "/v1/sync:apply?validateOnly=true", Body: batch},
		{Verb: "POST", Path: "/v1/sync:apply", Body: batch},
		{Verb: "POST", Path: "/v1/orders/S1/cancellation", Body: `{}`},
		{Verb: "GET", Path: "/v1/customers/c_none"},
		{Verb: "GET", Path: "/v1/orders/none"},
		{Verb: "GET", Path: "/v1/cases/500000000000009999"},
		{Verb: "GET", Path: "/v1/operations/op_none"},
		{Verb: "GET", Path: "/v1/products/none/availability"},
		{Verb: "POST", Path: "/v1/orders", Body: `{"customerId":"` + known + `","items":[{"sku":"unknown","quantity":"1"}]}`},
		{Verb: "POST", Path: "/v1/sync:apply", Body: behind},
	}
}

// TestLastRelease_Complete: what is not recorded is not watched over.
func TestLastRelease_Complete(t *testing.T) {
	t.Parallel()
	steps := recordedSteps(t)
	t.Run("every method that the edge calls is recorded, with an answer", func(t *testing.T) {
		t.Parallel()
		answered := map[string]bool{}
		for _, s := range steps {
			for _, c := range s.Calls {
				answered[c.Method] = answered[c.Method] || c.Response != nil
			}
		}
		called := calledMethods(t)
		require.Greater(t, len(called), 15)
		for _, m := range called {
			require.True(t, answered[m], "%s: add a step to todaySteps, then `make requests`", m)
		}
	})
	t.Run("every refusal that is recorded is explained where its type leads", func(t *testing.T) {
		t.Parallel()
		explained := map[string]bool{}
		for _, e := range problem.Catalogue() {
			explained[e.Code] = true
		}
		refused := 0
		for _, s := range steps {
			if code := s.Answered["X-Error-Code"]; code != "" {
				refused++
				require.True(t, explained[code], code)
			}
		}
		require.Greater(t, refused, 5)
	})
	t.Run("every route of the description is recorded, with a success", func(t *testing.T) {
		t.Parallel()
		doc, err := conform.Document()
		require.NoError(t, err)
		for template, item := range doc["paths"].(object) {
			for verb := range item.(object) {
				require.True(t, slices.ContainsFunc(steps, func(s step) bool {
					path, _, _ := strings.Cut(s.Path, "?")
					return strings.EqualFold(s.Verb, verb) && s.Status < 300 && fits(template, path)
				}), "%s %s: add a step to todaySteps, then `make requests`", verb, template)
			}
		}
	})
}

// TestLastRelease_Refuses: a change that apps or the last release would notice is not recorded over what is.
func TestLastRelease_Refuses(t *testing.T) {
	t.Parallel()
	const answer = `{"customerId":"c","state":"OK","orders":[{"orderId":"1"}],"capabilities":["a"],"nextPageToken":"x"}`
	then := step{Status: 200, Answered: map[string]string{"ETag": `"1"`, "Location": "/v1/x"}, Answer: json.RawMessage(answer)}
	for name, c := range map[string]struct {
		change  func(*step)
		refused bool
	}{
		"what is as it was":           {func(*step) {}, false},
		"one more member":             {func(s *step) { s.Answer = json.RawMessage(strings.Replace(answer, "{", `{"new":1,`, 1)) }, false},
		"one more capability":         {func(s *step) { s.Answer = json.RawMessage(strings.Replace(answer, `["a"`, `["b","a"`, 1)) }, false},
		"another token":               {func(s *step) { s.Answer = json.RawMessage(strings.Replace(answer, `"x"`, `"y"`, 1)) }, false},
		"another tag":                 {func(s *step) { s.Answered = map[string]string{"ETag": `"2"`, "Location": "/v1/x"} }, false},
		"no tag":                      {func(s *step) { s.Answered = map[string]string{"Location": "/v1/x"} }, true},
		"another place":               {func(s *step) { s.Answered = map[string]string{"ETag": `"1"`, "Location": "/v2/x"} }, true},
		"another status":              {func(s *step) { s.Status = 201 }, true},
		"a member that is gone":       {func(s *step) { s.Answer = json.RawMessage(strings.Replace(answer, `"state":"OK",`, "", 1)) }, true},
		"a member with another value": {func(s *step) { s.Answer = json.RawMessage(strings.Replace(answer, "OK", "FINE", 1)) }, true},
		"a member of a list's":        {func(s *step) { s.Answer = json.RawMessage(strings.Replace(answer, "orderId", "id", 1)) }, true},
		"a list with more":            {func(s *step) { s.Answer = json.RawMessage(strings.Replace(answer, `[{`, `[{"orderId":"0"},{`, 1)) }, true},
		"a walk that ends too early":  {func(s *step) { s.Answer = json.RawMessage(strings.Replace(answer, `"x"`, `""`, 1)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := then
			c.change(&now)
			require.Equal(t, c.refused, len(changed(then, now)) > 0)
		})
	}
	t.Run("a field with another number, or none", func(t *testing.T) {
		t.Parallel()
		old, err := lastFiles()
		require.NoError(t, err)
		call := recordedCall{
			Method: "/selfsame.customer.v1.ScreenService/FindOrder", Request: json.RawMessage(`{"orderId":"1"}`), Response: json.RawMessage(`{"customerId":"c"}`),
		}
		for number, same := range map[int32]bool{1: true, 7: false} {
			set := contractsToday(t)
			for _, f := range set.GetFile() {
				for _, m := range f.GetMessageType() {
					if m.GetName() == "FindOrderRequest" {
						m.Field[0].Number = proto.Int32(number)
					}
				}
			}
			today, err := protodesc.NewFiles(set)
			require.NoError(t, err)
			require.Equal(t, same, sameOnWire(old, today, call))
		}
		none, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{})
		require.NoError(t, err)
		require.False(t, sameOnWire(old, none, call))
	})
}

// fits reports whether a path is one of a template.
func fits(template, path string) bool {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i, part := range want {
		if !strings.HasPrefix(part, "{") && part != have[i] {
			return false
		}
	}
	return true
}

// calledMethods reads in the source which methods of the process service the edge calls.
func calledMethods(t *testing.T) []string {
	t.Helper()
	services := map[string]protoreflect.ServiceDescriptor{
		"customers": customerv1.File_selfsame_customer_v1_customer_service_proto.Services().ByName("CustomerService"),
		"screens":   customerv1.File_selfsame_customer_v1_screen_service_proto.Services().ByName("ScreenService"),
	}
	sources, err := filepath.Glob("internal/rpc/*.go")
	require.NoError(t, err)
	var out []string
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			method, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			client, ok := method.X.(*ast.SelectorExpr)
			if !ok || services[client.Sel.Name] == nil {
				return true
			}
			service := services[client.Sel.Name]
			require.NotNil(t, service.Methods().ByName(protoreflect.Name(method.Sel.Name)), "%s is no method of %s", method.Sel.Name, service.FullName())
			out = append(out, "/"+string(service.FullName())+"/"+method.Sel.Name)
			return true
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// recordSteps plays today's requests to today's edge over a fake and writes what was said and the contracts it was said in.
// What is recorded already keeps its meaning: a step that would be lost or would mean something else is refused. Steps that
// are no longer played are kept as they are.
func recordSteps(t *testing.T, old *protoregistry.Files, then []step) {
	t.Helper()
	now := playToday(t)
	set := contractsToday(t)
	today, err := protodesc.NewFiles(set)
	require.NoError(t, err)
	for _, s := range then {
		for _, c := range s.Calls {
			require.True(t, sameOnWire(old, today, c), "refused: %s %s: %s means something else now", s.Verb, s.Path, c.Method)
		}
		i := slices.IndexFunc(now, func(n step) bool { return sameRequest(s, n) })
		if i < 0 {
			now = append(now, s)
			continue
		}
		require.Empty(t, changed(s, now[i]), "refused: %s %s is answered otherwise than recorded", s.Verb, s.Path)
		for _, c := range s.Calls {
			require.True(t, slices.ContainsFunc(now[i].Calls, func(n recordedCall) bool { return sameCall(c, n) }),
				"refused: %s %s asks %s otherwise than recorded", s.Verb, s.Path, c.Method)
		}
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(now))
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(lastContracts, raw, 0o644))         //nolint:gosec // part of the repository
	require.NoError(t, os.WriteFile(lastRequests, text.Bytes(), 0o644)) //nolint:gosec // part of the repository
}

func sameRequest(a, b step) bool {
	same := a.Verb == b.Verb && a.Path == b.Path && a.Body == b.Body && len(a.Header) == len(b.Header)
	for name, v := range a.Header {
		same = same && b.Header[name] == v
	}
	return same
}

// sameCall reports whether a call asks the same, and is answered with all that was recorded.
func sameCall(then, now recordedCall) bool {
	var asked, asks any
	if then.Method != now.Method || (then.Error == nil) != (now.Error == nil) || json.Unmarshal(then.Request, &asked) != nil || json.Unmarshal(now.Request, &asks) != nil {
		return false
	}
	was, is := then.Response, now.Response
	if then.Error != nil {
		was, is = then.Error, now.Error
	}
	var want, got any
	return json.Unmarshal(was, &want) == nil && json.Unmarshal(is, &got) == nil &&
		len(lost("", asked, asks)) == 0 && len(lost("", asks, asked)) == 0 && len(lost("", want, got)) == 0
}

// sameOnWire reports whether a recorded call has the same meaning under two sets of contracts: what one side writes, the
// other reads as the same.
func sameOnWire(old, today *protoregistry.Files, c recordedCall) bool {
	was, knew := methodOf(old, c.Method)
	is, knows := methodOf(today, c.Method)
	if !knew || !knows {
		return false
	}
	same := func(text json.RawMessage, from, to protoreflect.MessageDescriptor) bool {
		sent, received, want := dynamicpb.NewMessage(from), dynamicpb.NewMessage(to), dynamicpb.NewMessage(to)
		if protojson.Unmarshal(text, sent) != nil || protojson.Unmarshal(text, want) != nil {
			return false
		}
		raw, err := proto.Marshal(sent)
		return err == nil && proto.Unmarshal(raw, received) == nil && proto.Equal(received, want)
	}
	return same(c.Request, was.Input(), is.Input()) && (c.Error != nil || same(c.Response, was.Output(), is.Output()))
}

// playToday plays the steps of today.
func playToday(t *testing.T) []step {
	t.Helper()
	var mu sync.Mutex
	var calls []recordedCall
	tape := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		resp, err := handler(ctx, req)
		c := recordedCall{Method: info.FullMethod, Request: written(t, req)}
		if err != nil {
			c.Error = written(t, status.Convert(err).Proto())
		} else {
			c.Response = written(t, resp)
		}
		mu.Lock()
		defer mu.Unlock()
		if !slices.ContainsFunc(calls, func(seen recordedCall) bool { return sameCall(seen, c) && sameCall(c, seen) }) { // a stream looks often
			calls = append(calls, c)
		}
		return resp, err
	}
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(tape, asStatus))
	f := newFake()
	f.now = func() time.Time { return readTime }
	customerv1.RegisterCustomerServiceServer(srv, f)
	customerv1.RegisterScreenServiceServer(srv, f)
	w := &world{idp: newProvider(t), log: &telemetrytest.Log{}}
	w.target = serveStub(t, srv)
	w.serve(t)
	tokens := map[string]string{}
	var out []step
	for _, s := range todaySteps() {
		for name, v := range tokens {
			s.Path = strings.ReplaceAll(s.Path, "{"+name+"}", v)
		}
		s = w.play(t, s)
		require.NotEqual(t, 5, s.Status/100, "%s %s: %s", s.Verb, s.Path, s.Answer)
		var answered map[string]any
		require.NoError(t, json.Unmarshal(s.Answer, &answered))
		for _, name := range []string{"nextPageToken", "syncToken"} {
			if v, ok := answered[name].(string); ok && v != "" {
				tokens[name] = v
			}
		}
		mu.Lock()
		s.Calls, calls = calls, nil
		mu.Unlock()
		out = append(out, s)
	}
	return out
}

// asStatus writes failures as the services of the suite do.
func asStatus(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	if err != nil {
		return nil, fault.ToStatus(err).Err()
	}
	return resp, nil
}

func written(t *testing.T, v any) json.RawMessage {
	t.Helper()
	m, ok := v.(proto.Message)
	if !ok {
		t.Errorf("%T is no message", v)
		return nil
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Errorf("write %T: %v", v, err)
	}
	return text
}

// contractsToday are the contracts of the two services that the edge calls, and all that they refer to.
func contractsToday(t *testing.T) *descriptorpb.FileDescriptorSet {
	t.Helper()
	set, seen := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(customerv1.File_selfsame_customer_v1_customer_service_proto)
	add(customerv1.File_selfsame_customer_v1_screen_service_proto)
	return set
}
