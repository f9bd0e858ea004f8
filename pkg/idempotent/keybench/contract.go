package keybench

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// The methods that are called, one for each way to finish a vanished attempt. All need a key.
const (
	contract      = "selfsame.keybench.v1"
	recoverable   = "Recoverable"
	manual        = "Manual"
	transactional = "Transactional"
)

// register makes the contract known, once.
var register = sync.OnceValue(func() error {
	svc := &descriptorpb.ServiceDescriptorProto{Name: proto.String("BenchService")}
	for name, recovery := range map[string]optionsv1.Recovery{
		recoverable: optionsv1.Recovery_RECOVERY_RECOVERABLE, manual: optionsv1.Recovery_RECOVERY_MANUAL,
		transactional: optionsv1.Recovery_RECOVERY_TRANSACTIONAL,
	} {
		o := &descriptorpb.MethodOptions{}
		proto.SetExtension(o, optionsv1.E_Idempotency, &optionsv1.IdempotencyPolicy{
			Key: optionsv1.KeyRequirement_KEY_REQUIREMENT_REQUIRED, Recovery: recovery, Retention: durationpb.New(7 * 24 * time.Hour),
		})
		svc.Method = append(svc.Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), Options: o, InputType: proto.String(".google.protobuf.StringValue"), OutputType: proto.String(".google.protobuf.StringValue"),
		})
	}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("selfsame/keybench/v1/bench.proto"), Package: proto.String(contract), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto", "selfsame/options/v1/options.proto"}, Service: []*descriptorpb.ServiceDescriptorProto{svc},
	}, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	return protoregistry.GlobalFiles.RegisterFile(fd)
})

// The sizes of what a call stores: an answer as of one customer, and what else a record of it holds (fingerprint, owner,
// method), which the rows of the baselines hold too.
var (
	answerText = strings.Repeat("x", 300)
	answer     = wrapperspb.String(answerText)
	rawBody    = []byte(answerText + "google.protobuf.StringValue")
	rawMeta    = []byte(strings.Repeat("m", 33+16+len(contract)+len("/.BenchService/Recoverable")))
	request    = wrapperspb.String("a request of some size, as requests are: a name, an address, a few numbers, which all count")
)

func answerAtOnce(context.Context, any) (any, error) { return answer, nil }

// keys makes keys that nobody used.
type keys struct {
	run  string
	next atomic.Int64
}

func newKeys() *keys { return &keys{run: rand.Text()} }

func (k *keys) key() string { return fmt.Sprintf("%s-%d", k.run, k.next.Add(1)) }

// raw returns a key of a baseline, as long and as random as a digest.
func (k *keys) raw() []byte {
	sum := sha256.Sum256([]byte(k.key()))
	return sum[:]
}

// wire is what a transport is to an interceptor; it knows what became of the key.
type wire struct{ replayed bool }

func (*wire) Method() string { return "" }
func (w *wire) SetHeader(md metadata.MD) error {
	if v := md[idempotent.StatusMetadata]; len(v) == 1 && v[0] == idempotent.StatusReplayed {
		w.replayed = true
	}
	return nil
}
func (*wire) SendHeader(metadata.MD) error { return nil }
func (*wire) SetTrailer(metadata.MD) error { return nil }

// caller calls methods through the interceptor.
type caller struct {
	*keys
	ic grpc.UnaryServerInterceptor
}

func newCaller(store idempotent.Store) *caller {
	return &caller{keys: newKeys(), ic: idempotent.UnaryServer(store, idempotent.Options{Optimistic: true})}
}

var infos = map[string]*grpc.UnaryServerInfo{
	recoverable:   {FullMethod: "/" + contract + ".BenchService/" + recoverable},
	manual:        {FullMethod: "/" + contract + ".BenchService/" + manual},
	transactional: {FullMethod: "/" + contract + ".BenchService/" + transactional},
}

func (c *caller) call(ctx context.Context, method, key string, h grpc.UnaryHandler, replayed bool) error {
	w := &wire{}
	ctx = grpc.NewContextWithServerTransportStream(ctx, w)
	ctx = metadata.NewIncomingContext(ctx, metadata.MD{idempotent.Metadata: []string{key}})
	resp, err := c.ic(ctx, request, infos[method], h)
	if err != nil {
		return err
	}
	if v, ok := resp.(*wrapperspb.StringValue); !ok || len(v.GetValue()) != len(answerText) || w.replayed != replayed {
		return fmt.Errorf("%s answered %T, replayed %t", method, resp, w.replayed)
	}
	return nil
}

// fresh calls with a new key.
func (c *caller) fresh(method string) work {
	return func(ctx context.Context) error { return c.call(ctx, method, c.key(), answerAtOnce, false) }
}

// replay calls with one of a few keys that were used before, as many as there are callers.
func (c *caller) replay(ctx context.Context, many int) (work, error) {
	used := make([]string, many)
	for i := range used {
		used[i] = c.key()
		if err := c.call(ctx, manual, used[i], answerAtOnce, false); err != nil {
			return nil, err
		}
	}
	var next atomic.Int64
	return func(ctx context.Context) error {
		return c.call(ctx, manual, used[int(next.Add(1))%many], answerAtOnce, true)
	}, nil
}
