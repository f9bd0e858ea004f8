package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/suite/remote"
)

// knownCustomer is the customer of the recorded requests, pendingCustomer one that the ERP does not have.
const knownCustomer, pendingCustomer = "c_known", "c_uncertain"

// lastCall is one call that the edge of the last release made, with its response or its error.
type lastCall struct {
	Method   string          `json:"method"`
	Request  json.RawMessage `json:"request"`
	Response json.RawMessage `json:"response"`
	Error    json.RawMessage `json:"error"`
}

// lastEdge asks a process service of today what the edge of the last release asked its own, in the words of that release's
// contracts, and looks in the answers for what that edge shows. What was recorded is in proto/baseline, made by
// `make requests`; the other way round is TestLastRelease of experience-mobile.
func lastEdge(t *testing.T, st remote.State) {
	t.Helper()
	raw, err := os.ReadFile("../proto/baseline/requests.binpb")
	require.NoError(t, err)
	var set descriptorpb.FileDescriptorSet
	require.NoError(t, proto.Unmarshal(raw, &set))
	files, err := protodesc.NewFiles(&set)
	require.NoError(t, err)
	text, err := os.ReadFile("../proto/baseline/requests.json")
	require.NoError(t, err)
	var steps []struct {
		Calls []lastCall `json:"calls"`
	}
	require.NoError(t, json.Unmarshal(text, &steps))
	stock(t, st.GRPC[SystemERP])
	e := &edgeBefore{files: files, conn: dialed(t, st.GRPC[ProcessCustomer]), now: map[string]string{"prefix Known": "Golden"}, answered: map[string]bool{}}
	n := 0
	for _, first := range []string{"/CreateCustomer", "/PlaceOrder", "/OpenCase", ""} { // what is shown is made before
		for _, s := range steps {
			for _, c := range s.Calls {
				name := c.Method[strings.LastIndex(c.Method, "/"):]
				made := name == "/CreateCustomer" || name == "/PlaceOrder" || name == "/OpenCase"
				if first == name || first == "" && !made {
					e.ask(t, n, c)
					n++
				}
			}
		}
	}
	for _, s := range steps {
		for _, c := range s.Calls {
			require.True(t, e.answered[c.Method], "%s was answered then", c.Method)
		}
	}
}

// stock puts the article of the recorded requests into the catalogue.
func stock(t *testing.T, addr string) {
	t.Helper()
	products := erpv1.NewProductServiceClient(dialed(t, addr))
	_, err := products.BatchUpsertProducts(t.Context(), &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{{
		Sku: "pump", Name: "Pump", Unit: "C62", Price: &erpv1.Money{Amount: "1299.90", Currency: "EUR"}, Active: true,
	}}})
	require.NoError(t, err)
	_, err = products.SetInventory(t.Context(), &erpv1.SetInventoryRequest{Inventory: &erpv1.Inventory{Sku: "pump", Site: "Bonn", OnHand: "100", Unit: "C62"}})
	require.NoError(t, err)
}

func dialed(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// edgeBefore is the edge of the last release.
type edgeBefore struct {
	files *protoregistry.Files
	conn  *grpc.ClientConn
	// now is what a recorded id, tag or token is today.
	now      map[string]string
	answered map[string]bool // by method
}

// ask makes a recorded call anew and compares.
func (e *edgeBefore) ask(t *testing.T, n int, c lastCall) {
	t.Helper()
	d, err := e.files.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(c.Method, "/"), "/", ".")))
	require.NoError(t, err)
	m, ok := d.(protoreflect.MethodDescriptor)
	require.True(t, ok)
	req, then, now := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output()), dynamicpb.NewMessage(m.Output())
	require.NoError(t, protojson.Unmarshal(c.Request, req))
	var refused spb.Status
	if c.Error != nil {
		require.NoError(t, protojson.Unmarshal(c.Error, &refused))
	} else {
		require.NoError(t, protojson.Unmarshal(c.Response, then))
	}
	want := fault.FromStatus(status.ErrorProto(&refused))
	later := turned(req.ProtoReflect())
	if fault.ReasonOf(want) == "CUSTOMER_PENDING" || !e.translate(req.ProtoReflect()) {
		return // a state of the moment, or a page that today's walk does not have
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", fmt.Sprintf("the-key-of-the-last-edge:%d", n), "selfsame-principal", "somebody")
	var failed error
	var missing []string
	if !eventually(func() bool { // the customer may still be on its way to the ERP, an answer on its way to an index
		failed = fault.FromStatus(e.conn.Invoke(ctx, c.Method, req, now))
		if failed != nil || want != nil {
			return fault.ReasonOf(failed) == fault.ReasonOf(want)
		}
		missing = absent(then.ProtoReflect(), now.ProtoReflect(), later)
		return len(missing) == 0
	}) {
		require.Equal(t, want, failed, "%s %s", c.Method, c.Request)
		require.Empty(t, missing, "%s does not answer with what the last release shows: %s", c.Method, now)
	}
	if want != nil {
		require.Equal(t, fault.KindOf(want), fault.KindOf(failed))
		require.Equal(t, fieldsOf(want), fieldsOf(failed))
		return
	}
	e.answered[c.Method] = true
	require.Empty(t, strangeValues(now), "%s answers with values that the last release does not know", c.Method)
	e.learn(then.ProtoReflect(), now.ProtoReflect())
}

// madeNames are the fields whose values today's service makes itself; those of one kind have one space of values.
var madeNames = map[protoreflect.Name]string{
	"id": "id", "customer_id": "id", "order_id": "id", "case_id": "id", "operation_id": "id", "etag": "etag",
	"token": "token", "next_token": "token", "page_token": "token", "next_page_token": "token", "name_prefix": "prefix",
}

// translate puts the names of today into a recorded request; false if there is none for a page that was asked for then.
func (e *edgeBefore) translate(m protoreflect.Message) bool {
	ok := true
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch kind := madeNames[f.Name()]; {
		case f.IsMap() || f.IsList():
		case f.Message() != nil:
			ok = e.translate(v.Message()) && ok
		case kind != "":
			if now, known := e.now[kind+" "+v.String()]; known {
				m.Set(f, protoreflect.ValueOfString(now))
			} else {
				ok = ok && kind != "token"
			}
		}
		return true
	})
	return ok
}

// turned reports whether a request is for a later page, which may be empty today.
func turned(m protoreflect.Message) bool {
	later := false
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		later = later || madeNames[f.Name()] == "token"
		return true
	})
	return later
}

// learn notes how what was recorded is named today.
func (e *edgeBefore) learn(then, now protoreflect.Message) {
	then.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		kind := madeNames[f.Name()]
		switch {
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			for i := range min(v.List().Len(), now.Get(f).List().Len()) {
				if then.Descriptor().FullName() != "selfsame.customer.v1.ListCustomersResponse" { // others than those of then
					e.learn(v.List().Get(i).Message(), now.Get(f).List().Get(i).Message())
				}
			}
		case f.Message() != nil && !f.IsList():
			e.learn(v.Message(), now.Get(f).Message())
		case kind != "" && now.Get(f).String() != "":
			e.name(kind, v.String(), now.Get(f).String())
		}
		return true
	})
}

// name keeps the first name of a thing: the customer that is made first is the known one.
func (e *edgeBefore) name(kind, then, now string) {
	if _, known := e.now[kind+" "+then]; known && kind == "id" {
		return
	}
	e.now[kind+" "+then] = now
	if _, known := e.now["id "+knownCustomer]; kind == "id" && !known {
		e.now["id "+knownCustomer], e.now["id "+pendingCustomer] = now, now
	}
}

// entered are fields that hold what somebody has entered, which is not the same today.
var entered = map[protoreflect.Name]bool{
	"tax_id": true, "phone": true, "website": true, "email": true, "address": true, "sources": true, "contacts": true, "warranties": true,
	"next_page_token": true, "purchase_order": true, "more": true, "as_of": true, "next_try_time": true, "reason": true, "priority": true,
	// Sections: what they hold is asked for by methods of their own.
	"orders_status": true, "cases_status": true, "warranties_status": true,
}

// absent names the fields that were filled then and are empty now. A list may be empty where the page is a later one.
func absent(then, now protoreflect.Message, later bool) []string {
	var out []string
	then.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		view := f.Name() == "orders" && strings.HasSuffix(string(then.Descriptor().Name()), "ViewResponse")
		switch {
		case entered[f.Name()] || view:
		case f.IsList() && later && !now.Has(f):
		case !now.Has(f):
			out = append(out, string(f.FullName()))
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			out = append(out, absent(v.List().Get(0).Message(), now.Get(f).List().Get(0).Message(), later)...)
		case f.Message() != nil && !f.IsList():
			out = append(out, absent(v.Message(), now.Get(f).Message(), later)...)
		}
		return true
	})
	return out
}

func fieldsOf(err error) (out []string) {
	if e, ok := fault.As(err); ok {
		for _, f := range e.Fields {
			out = append(out, f.Path+" "+f.Reason)
		}
	}
	return out
}

// eventually tries until it works, for a minute.
func eventually(works func() bool) bool {
	for end := time.Now().Add(time.Minute); !works(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// strangeValues names the fields with enum values that their contract does not have: an edge that does not know them would
// show numbers.
func strangeValues(m proto.Message) []string {
	var out []string
	var walk func(m protoreflect.Message)
	walk = func(m protoreflect.Message) {
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			each := func(v protoreflect.Value) {
				switch {
				case f.Enum() != nil && f.Enum().Values().ByNumber(v.Enum()) == nil:
					out = append(out, string(f.FullName()))
				case f.Message() != nil:
					walk(v.Message())
				}
			}
			switch {
			case f.IsMap():
			case f.IsList():
				for i := range v.List().Len() {
					each(v.List().Get(i))
				}
			default:
				each(v)
			}
			return true
		})
	}
	walk(m.ProtoReflect())
	slices.Sort(out)
	return out
}
