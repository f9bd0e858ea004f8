package rpc

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
)

// ReasonText is the reason of a refused text.
const ReasonText = "TEXT_INVALID"

// Guard refuses requests with a NUL character in a text: PostgreSQL cannot store it, and what one engine refuses the other
// must refuse too. Batches are checked record by record in their handlers.
func Guard() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		switch m := req.(type) {
		case *erpv1.BatchUpsertCustomersRequest, *erpv1.BatchUpsertContactsRequest, *erpv1.BatchUpsertProductsRequest:
		case proto.Message:
			if path := badText(m.ProtoReflect(), ""); path != "" {
				return nil, textFault(path)
			}
		}
		return handler(ctx, req)
	}
}

func textFault(path string) error {
	return fault.InvalidField(path, ReasonText, "a text holds no NUL character")
}

// badText returns the path of the first text with a NUL character in m; empty for none.
func badText(m protoreflect.Message, prefix string) string {
	bad := ""
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		path := prefix + string(f.Name())
		switch {
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				if f.MapKey().Kind() == protoreflect.StringKind && nul(k.String()) ||
					f.MapValue().Kind() == protoreflect.StringKind && nul(v.String()) {
					bad = path
				}
				return bad == ""
			})
		case f.IsList():
			for i := 0; i < v.List().Len() && bad == ""; i++ {
				bad = badValue(f, v.List().Get(i), fmt.Sprintf("%s[%d]", path, i))
			}
		default:
			bad = badValue(f, v, path)
		}
		return bad == ""
	})
	return bad
}

func badValue(f protoreflect.FieldDescriptor, v protoreflect.Value, path string) string {
	switch {
	case f.Kind() == protoreflect.StringKind && nul(v.String()):
		return path
	case f.Kind() == protoreflect.MessageKind:
		return badText(v.Message(), path+".")
	}
	return ""
}

func nul(s string) bool { return strings.ContainsRune(s, 0) }
