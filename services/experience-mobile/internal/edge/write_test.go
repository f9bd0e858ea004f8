package edge

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

// fill sets some of the fields of a message, so deep at most.
func fill(r *rand.Rand, m protoreflect.Message, deep int) {
	texts := []string{"", "x", "Schröder \"&\" <Söhne>\\", "a\x00\x1f\n\t\u2028\u007f", "日本 🎉", "0"}
	value := func(f protoreflect.FieldDescriptor, empty protoreflect.Value) protoreflect.Value {
		switch f.Kind() {
		case protoreflect.StringKind:
			return protoreflect.ValueOfString(texts[r.IntN(len(texts))])
		case protoreflect.BoolKind:
			return protoreflect.ValueOfBool(r.IntN(2) == 0)
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(r.Int32() - 1<<30)
		}
		if t, ok := empty.Message().Interface().(*timestamppb.Timestamp); ok {
			t.Seconds, t.Nanos = r.Int64N(4e9)-2e9, []int32{0, 1, 120e6, 120e3, 999_999_999, 100}[r.IntN(6)]
		} else if deep > 0 {
			fill(r, empty.Message(), deep-1)
		}
		return empty
	}
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		if r.IntN(3) == 0 {
			continue
		}
		if !f.IsList() {
			m.Set(f, value(f, m.NewField(f)))
			continue
		}
		list := m.Mutable(f).List()
		for range r.IntN(3) {
			list.Append(value(f, list.NewElement()))
		}
	}
}

// What is written by hand is what the library writes, for every answer of the contract.
func TestWrite(t *testing.T) {
	t.Parallel()
	var known layouts
	c := newCodec()
	r := rand.New(rand.NewPCG(1, 2))
	messages := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Messages()
	require.Positive(t, messages.Len())
	for i := range messages.Len() {
		if messages.Get(i).Fields().ByName("update_mask") != nil {
			continue // a request
		}
		kind := newBodyRules(messages.Get(i)).kind
		for range 50 {
			m := kind.New()
			fill(r, m, 3)
			want, err := c.MarshalOptions.Marshal(m.Interface())
			require.NoError(t, err)
			got, ok := known.write(m.Interface())
			require.True(t, ok, kind.Descriptor().FullName())
			require.JSONEq(t, string(want), string(got))
			again := kind.New().Interface()
			require.NoError(t, protojson.Unmarshal(got, again))
			require.True(t, proto.Equal(m.Interface(), again), "%s", got)
		}
	}
	t.Run("what it does not know is left to the library", func(t *testing.T) {
		t.Parallel()
		for name, m := range map[string]proto.Message{
			"text that is none":     &mobilev1.Customer{Name: "\xff"},
			"a time that is none":   &mobilev1.Customer{CreateTime: &timestamppb.Timestamp{Nanos: -1}},
			"a message of others":   durationpb.New(time.Second),
			"a time of another way": timeOfAnotherWay(),
		} {
			_, ok := known.write(m)
			require.False(t, ok, name)
			want, wantErr := c.MarshalOptions.Marshal(m)
			got, err := c.Marshal(m)
			require.Equal(t, wantErr == nil, err == nil, name)
			if err == nil {
				require.JSONEq(t, string(want), string(got), name)
			}
		}
	})
}

func timeOfAnotherWay() proto.Message {
	m := dynamicpb.NewMessage((&mobilev1.Customer{}).ProtoReflect().Descriptor())
	m.Mutable(m.Descriptor().Fields().ByName("create_time"))
	return m
}
