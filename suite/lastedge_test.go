package suite

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// knownCustomer is the customer of the recorded requests.
const knownCustomer = "c_known"

// lastEdge asks a process service of today what the edge of the last release asked its own, in the words of that release's
// contracts. What was recorded is in proto/baseline, made by `make baseline`; the other way round is TestLastRelease of
// experience-mobile.
func lastEdge(t *testing.T, addr string) {
	t.Helper()
	raw, err := os.ReadFile("../proto/baseline/contracts.binpb")
	require.NoError(t, err)
	var set descriptorpb.FileDescriptorSet
	require.NoError(t, proto.Unmarshal(raw, &set))
	files, err := protodesc.NewFiles(&set)
	require.NoError(t, err)
	text, err := os.ReadFile("../proto/baseline/requests.json")
	require.NoError(t, err)
	var steps []struct {
		Calls []struct {
			Method  string          `json:"method"`
			Request json.RawMessage `json:"request"`
		} `json:"calls"`
	}
	require.NoError(t, json.Unmarshal(text, &steps))
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	id := ""
	ask := func(method, request string) {
		d, err := files.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")))
		require.NoError(t, err)
		m, ok := d.(protoreflect.MethodDescriptor)
		require.True(t, ok)
		req, resp := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
		require.NoError(t, protojson.Unmarshal([]byte(strings.ReplaceAll(request, knownCustomer, id)), req))
		ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "the-key-of-the-last-edge:"+method[strings.LastIndex(method, "/")+1:], "selfsame-principal", "somebody")
		var failed error
		if !eventually(func() bool { // the customer may still be on its way to the ERP
			failed = conn.Invoke(ctx, method, req, resp)
			return failed == nil
		}) {
			require.NoError(t, failed, method)
		}
		require.Empty(t, strangeValues(resp), "%s answers with values that the last release does not know", method)
		if c := resp.Descriptor().Fields().ByName("customer"); c != nil {
			got := resp.Get(c).Message()
			for _, name := range []protoreflect.Name{"id", "name", "etag", "create_time", "update_time"} {
				require.True(t, got.Has(got.Descriptor().Fields().ByName(name)), "%s: %s", method, name)
			}
			id = got.Get(got.Descriptor().Fields().ByName("id")).String()
		}
	}
	asked := 0
	for _, first := range []bool{true, false} { // the customer is made before it is asked for
		for _, s := range steps {
			for _, c := range s.Calls {
				if strings.HasSuffix(c.Method, "/CreateCustomer") == first {
					ask(c.Method, string(c.Request))
					asked++
				}
			}
		}
	}
	require.GreaterOrEqual(t, asked, 5)
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
