package idempotent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

func TestParseHeader(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{
		`abc`: "abc", `"abc"`: "abc", ` "abc" `: "abc", `"a\"b\\c"`: `a"b\c`, `"abc";v=1`: "abc", `"abc" ;v`: "abc",
		`8e03978e-40d5-43e8-bc93-6894a57f9324`: "8e03978e-40d5-43e8-bc93-6894a57f9324",
	} {
		k, err := idempotent.ParseHeader([]string{lines})
		require.NoError(t, err, lines)
		require.Equal(t, idempotent.Key(want), k)
	}
	for _, bad := range [][]string{
		{``},
		{`""`},
		{` `},
		{`"abc`},
		{`"a\bc"`},
		{`"a\`},
		{`a"b`},
		{`a, b`},
		{`"a", "b"`},
		{`"a""b"`},
		{"a", "b"},
		{"a\x00b"},
		{"a\tb"},
		{"ключ"},
		{`"ü"`},
		{strings.Repeat("x", 256)},
		{"\x7f"},
	} {
		_, err := idempotent.ParseHeader(bad)
		require.Equal(t, idempotent.ReasonKeyInvalid, fault.ReasonOf(err), "%q", bad)
	}
	k, err := idempotent.ParseHeader(nil)
	require.NoError(t, err)
	require.Empty(t, k)
}

func FuzzParseHeader(f *testing.F) {
	f.Add(`"a\"b"`)
	f.Add(`plain`)
	f.Fuzz(func(t *testing.T, line string) {
		k, err := idempotent.ParseHeader([]string{line})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		if _, err := idempotent.ParseKey(string(k)); err != nil {
			t.Fatalf("%q: %v", k, err)
		}
	})
}

func TestChild(t *testing.T) {
	t.Parallel()
	// These keys are stored in other systems: the derivation must never change.
	require.Equal(t, "fO-pJueyU_cQ6eNNLcEA_N9cGcx7CFH6LzpgvvVEVIo", idempotent.ChildOf("parent", "erp.create", "7"))
	seen := map[string]bool{}
	for _, k := range []string{
		idempotent.ChildOf("p", "s", "i"), idempotent.ChildOf("p", "si", ""), idempotent.ChildOf("ps", "", "i"),
		idempotent.ChildOf("p", "s", "j"), idempotent.ChildOf("p", "t", "i"), idempotent.ChildOf("q", "s", "i"),
	} {
		_, err := idempotent.ParseKey(k)
		require.NoError(t, err)
		require.Len(t, k, 43)
		require.False(t, seen[k])
		seen[k] = true
	}
	t.Run("replaces the key of the outgoing call", func(t *testing.T) {
		t.Parallel()
		ctx := idempotent.Outgoing(idempotent.WithKey(t.Context(), "parent"), "old")
		md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, "erp.create", "7"))
		require.Equal(t, []string{idempotent.ChildOf("parent", "erp.create", "7")}, md.Get(idempotent.Metadata))
		md, _ = metadata.FromOutgoingContext(ctx)
		require.Equal(t, []string{"old"}, md.Get(idempotent.Metadata), "the other context is left alone")
	})
	t.Run("does nothing without a current key", func(t *testing.T) {
		t.Parallel()
		_, ok := metadata.FromOutgoingContext(idempotent.Child(t.Context(), "s", ""))
		require.False(t, ok)
	})
}

func TestUnaryClient(t *testing.T) {
	t.Parallel()
	require.NoError(t, registerContract())
	send := func(ctx context.Context, name string) (keys []string, err error) {
		err = idempotent.UnaryClient()(ctx, method(name), nil, nil, nil,
			func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
				md, _ := metadata.FromOutgoingContext(ctx)
				keys = md.Get(idempotent.Metadata)
				return nil
			})
		return keys, err
	}
	_, err := send(t.Context(), "Manual")
	require.Equal(t, idempotent.ReasonKeyMissing, fault.ReasonOf(err))
	keys, err := send(idempotent.WithKey(t.Context(), "parent"), "Manual")
	require.NoError(t, err)
	require.Len(t, keys, 1)
	keys, err = send(idempotent.Outgoing(t.Context(), "mine"), "Manual")
	require.NoError(t, err)
	require.Equal(t, []string{"mine"}, keys)
	_, err = send(idempotent.Outgoing(t.Context(), "not valid"), "Read")
	require.Equal(t, idempotent.ReasonKeyInvalid, fault.ReasonOf(err))
	keys, err = send(idempotent.WithKey(t.Context(), "parent"), "Read")
	require.NoError(t, err)
	require.Empty(t, keys)
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	fp := func(m proto.Message) string { return string(idempotent.Fingerprint("/m", m)) }
	object := func(kv ...any) *structpb.Struct {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		s, err := structpb.NewStruct(m)
		require.NoError(t, err)
		return s
	}
	a := fp(object("x", 1, "y", []any{"a", "b"}))
	for range 100 {
		require.Equal(t, a, fp(object("y", []any{"a", "b"}, "x", 1)), "the order of map entries does not matter")
	}
	different := []proto.Message{
		object("x", 1, "y", []any{"b", "a"}), object("x", 2, "y", []any{"a", "b"}), object("x", 1), object("x", "1"), object(),
		wrapperspb.String("x"), wrapperspb.String(""), wrapperspb.Double(1), wrapperspb.Bool(true),
		wrapperspb.Int64(-1), wrapperspb.UInt64(1),
	}
	seen := map[string]int{a: -1}
	for i, m := range different {
		f := fp(m)
		if j, dup := seen[f]; dup && proto.Size(m) > 0 { // empty messages of different types are equal: the method tells them apart
			t.Errorf("%v and %v have the same fingerprint", m, different[j])
		}
		seen[f] = i
	}
	require.NotEqual(t, string(idempotent.Fingerprint("/m", wrapperspb.String("x"))), string(idempotent.Fingerprint("/n", wrapperspb.String("x"))))

	unknown := wrapperspb.String("x")
	unknown.ProtoReflect().SetUnknown([]byte{0x78, 0x01, 0x70, 0x02})
	swapped := wrapperspb.String("x")
	swapped.ProtoReflect().SetUnknown([]byte{0x70, 0x02, 0x78, 0x01})
	require.NotEqual(t, fp(wrapperspb.String("x")), fp(unknown), "fields this binary does not know count")
	require.Equal(t, fp(unknown), fp(swapped), "their order does not")

	one, err := anypb.New(object("x", 1, "y", 2))
	require.NoError(t, err)
	two, err := anypb.New(object("y", 2, "x", 1))
	require.NoError(t, err)
	require.Equal(t, fp(one), fp(two), "an Any counts by its message")
}

func ExampleChild() {
	// In a handler the interceptor has put the key of the call into ctx.
	ctx := idempotent.WithKey(context.Background(), "8e03978e-40d5-43e8-bc93-6894a57f9324")
	for _, item := range []string{"line-1", "line-2", "line-1"} {
		md, _ := metadata.FromOutgoingContext(idempotent.Child(ctx, "erp.line.create", item))
		fmt.Println(item, md.Get(idempotent.Metadata)[0][:8])
	}
	// Output:
	// line-1 pVWfjQx_
	// line-2 GO7M1QLA
	// line-1 pVWfjQx_
}
