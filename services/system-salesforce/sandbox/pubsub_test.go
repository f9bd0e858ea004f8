package sandbox_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

type rawBytes struct{ b []byte }

type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(*rawBytes).b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	v.(*rawBytes).b = data.Materialize()
	return nil
}

// patience bounds every wait for the server.
const patience = time.Minute

// feed is a client of the Pub/Sub API that knows only field numbers.
type feed struct {
	org     *org
	conn    *grpc.ClientConn
	schemas map[string]string
	hostile bool
	tenant  string // another one than that of the start
}

func (o *org) feed() *feed {
	o.t.Helper()
	conn, err := grpc.NewClient(o.server.PubSubAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
	require.NoError(o.t, err)
	o.t.Cleanup(func() { _ = conn.Close() })
	return &feed{org: o, conn: conn, schemas: map[string]string{}}
}

func (f *feed) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	f.org.t.Cleanup(cancel)
	tenant := orgID
	if f.tenant != "" {
		tenant = f.tenant
	}
	return metadata.AppendToOutgoingContext(ctx, "accesstoken", f.org.token, "instanceurl", f.org.base, "tenantid", tenant)
}

// fields splits a message into its fields.
func fields(t testing.TB, b []byte) map[protowire.Number][]any {
	t.Helper()
	out := map[protowire.Number][]any{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		require.Positive(t, n)
		b = b[n:]
		if typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			require.Positive(t, n)
			out[num], b = append(out[num], v), b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		require.Positive(t, n)
		out[num], b = append(out[num], v), b[n:]
	}
	return out
}

func str(values []any) string {
	if len(values) == 0 {
		return ""
	}
	return string(values[0].([]byte))
}

func (f *feed) unary(method, argument string, trailer *metadata.MD) (map[protowire.Number][]any, error) {
	in := &rawBytes{protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), argument)}
	out := &rawBytes{}
	opts := []grpc.CallOption{}
	if trailer != nil {
		opts = append(opts, grpc.Trailer(trailer))
	}
	if err := f.conn.Invoke(f.context(), "/eventbus.v1.PubSub/"+method, in, out, opts...); err != nil {
		return nil, err
	}
	return fields(f.org.t, out.b), nil
}

func (f *feed) schema(id string) string {
	f.org.t.Helper()
	if f.schemas[id] == "" {
		out, err := f.unary("GetSchema", id, nil)
		require.NoError(f.org.t, err)
		require.Equal(f.org.t, id, str(out[2]))
		f.schemas[id] = str(out[1])
	}
	return f.schemas[id]
}

// event is one received event, decoded.
type event struct {
	id, replay, schema string
	value              map[string]any
	header             map[string]any
}

func (e event) String() string {
	return fmt.Sprint(e.header["changeType"], " ", e.header["recordIds"].([]any)[0])
}

// batch is one FetchResponse.
type batch struct {
	events  []event
	latest  string
	pending int
}

type stream struct {
	feed *feed
	s    grpc.ClientStream
}

const (
	latest   = 0
	earliest = 1
	custom   = 2
)

func (f *feed) subscribe(topic string, preset int, replay string, n int) *stream {
	f.org.t.Helper()
	s, err := f.conn.NewStream(f.context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/eventbus.v1.PubSub/Subscribe")
	require.NoError(f.org.t, err)
	st := &stream{f, s}
	st.request(topic, preset, replay, n)
	return st
}

func (s *stream) request(topic string, preset int, replay string, n int) {
	var b []byte
	if topic != "" {
		b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), topic)
	}
	if preset != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(preset))
	}
	if replay != "" {
		b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), replay)
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, 4, protowire.VarintType), uint64(int64(n)))
	_ = s.s.SendMsg(&rawBytes{b}) // a broken stream shows in the next receive
}

func (s *stream) receive() (batch, error) {
	t := s.feed.org.t
	t.Helper()
	var raw rawBytes
	if err := s.s.RecvMsg(&raw); err != nil {
		return batch{}, err
	}
	m := fields(t, raw.b)
	out := batch{latest: str(m[2])}
	require.NotEmpty(t, str(m[3]), "rpc id")
	if len(m[4]) > 0 {
		out.pending = int(m[4][0].(uint64))
	}
	for _, x := range m[1] {
		consumer := fields(t, x.([]byte))
		producer := fields(t, consumer[1][0].([]byte))
		e := event{id: str(producer[1]), schema: s.feed.schema(str(producer[2])), replay: str(consumer[2])}
		e.value = decodeAvro(t, e.schema, producer[3][0].([]byte))
		e.header, _ = e.value["ChangeEventHeader"].(map[string]any) // platform events have none
		if s.feed.hostile {
			out.events = append(out.events, e)
			continue
		}
		require.Len(t, e.replay, 8)
		require.Less(t, e.replay, "\x00\x20\x00\x00\x00\x00\x00\x00", "replay ids stay below 2^53")
		out.events = append(out.events, e)
	}
	return out, nil
}

func (s *stream) next() batch {
	s.feed.org.t.Helper()
	b, err := s.receive()
	require.NoError(s.feed.org.t, err)
	return b
}

// collect receives until there are n events.
func (s *stream) collect(n int) []event {
	s.feed.org.t.Helper()
	var out []event
	for len(out) < n {
		out = append(out, s.next().events...)
	}
	require.Len(s.feed.org.t, out, n)
	return out
}

// fails receives until the stream ends and checks how.
func (s *stream) fails(c codes.Code, code string) {
	t := s.feed.org.t
	t.Helper()
	for {
		_, err := s.receive()
		if err == nil {
			continue
		}
		require.Equal(t, c, status.Code(err), err)
		if code != "" {
			require.Equal(t, []string{code}, s.s.Trailer().Get("error-code"))
			require.Contains(t, err.Error(), "rpcId: ")
		}
		return
	}
}

const (
	accountTopic = "/data/AccountChangeEvent"
	corrupted    = "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted"
	authError    = "sfdc.platform.eventbus.grpc.service.auth.error"
)

func TestTopicsAndSchemas(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	topic, err := f.unary("GetTopic", accountTopic, nil)
	require.NoError(t, err)
	require.Equal(t, accountTopic, str(topic[1]))
	require.Equal(t, orgID, str(topic[2]))
	require.Equal(t, []any{uint64(1)}, topic[4])
	require.Len(t, str(topic[5]), 22)
	s := f.schema(str(topic[5]))
	require.Contains(t, s, `"name":"AccountChangeEvent","namespace":"com.sforce.eventbus","type":"record","fields":[{"name":"ChangeEventHeader"`)
	require.Contains(t, s, `"doc":"Data:Switchable_PersonName"`)
	require.Contains(t, s, `"doc":"Data:Address"`)
	var trailer metadata.MD
	_, err = f.unary("GetTopic", "/event/INVALID", &trailer)
	require.Equal(t, codes.NotFound, status.Code(err))
	_, err = f.unary("GetSchema", "nope", &trailer)
	require.Equal(t, codes.NotFound, status.Code(err))
	o.token = "bad"
	_, err = f.unary("GetTopic", accountTopic, &trailer)
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Equal(t, []string{authError}, trailer.Get("error-code"))
}

func TestSubscriptionsAreRefused(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	f.subscribe("/event/INVALID", latest, "", 1).fails(codes.NotFound, "")
	f.subscribe(accountTopic, latest, "", 0).fails(codes.InvalidArgument, "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid")
	f.subscribe(accountTopic, custom, "", 1).fails(codes.InvalidArgument, "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.validation.failed")
	f.subscribe(accountTopic, custom, "garbage", 1).fails(codes.InvalidArgument, corrupted)
	f.subscribe(accountTopic, custom, "\x00\x00\x00\x00\x00\x00\x00\x07", 1).fails(codes.InvalidArgument, corrupted)
	s := f.subscribe(accountTopic, latest, "", 1)
	s.request("/data/ContactChangeEvent", latest, "", 1)
	s.fails(codes.InvalidArgument, "")
	good := o.token
	o.token = "bad"
	f.subscribe(accountTopic, latest, "", 1).fails(codes.Unauthenticated, authError)
	o.token = good
	s = f.subscribe(accountTopic, latest, "", 1)
	s.next()
	o.fault(`{"expire_sessions":true}`)
	s.fails(codes.Unauthenticated, authError)
}

func TestReplay(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 100)
	tip := s.next()
	require.Empty(t, tip.events)
	require.Equal(t, 100, tip.pending)
	o.account(`{"Name":"A"}`)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"other topic"}`)
	o.account(`{"Name":"B"}`)
	got := s.collect(2)
	require.Less(t, got[0].replay, got[1].replay)
	require.NotEqual(t, got[0].header["transactionKey"], got[1].header["transactionKey"])
	all := f.subscribe("/data/ChangeEvents", earliest, "", 3).collect(3)
	require.Equal(t, "Contact", all[1].header["entityName"])
	require.Equal(t, got[1].id, all[2].id)
	for _, from := range []string{tip.latest, got[0].replay} {
		again := f.subscribe(accountTopic, custom, from, 100).collect(map[bool]int{true: 2, false: 1}[from == tip.latest])
		require.Equal(t, got[1].replay, again[len(again)-1].replay)
	}
	// Three days later the old ids are gone, and so are the events.
	o.clock.advance(73 * time.Hour)
	o.login()
	f.subscribe(accountTopic, custom, got[0].replay, 1).fails(codes.InvalidArgument, corrupted)
	o.account(`{"Name":"C"}`)
	require.Equal(t, "C", f.subscribe(accountTopic, earliest, "", 5).collect(1)[0].value["Name"])
}

func TestFlowControl(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	names := make([]string, 150)
	for i := range names {
		names[i] = fmt.Sprint("A", i)
	}
	s := f.subscribe(accountTopic, latest, "", 2)
	start := s.next()
	o.want(200, "POST", v62+"/composite/sobjects", accounts(names...))
	b := s.next()
	require.Len(t, b.events, 2)
	require.Zero(t, b.pending)
	require.Equal(t, b.events[1].replay, b.latest, "the position never lies beyond what was sent")
	s.request("", latest, "", 3)
	require.Len(t, s.collect(3), 3)
	// Demand is capped at 100, however much is asked for.
	s = f.subscribe(accountTopic, custom, start.latest, 5000)
	got := 0
	for got < 100 {
		b = s.next()
		got += len(b.events)
	}
	require.Equal(t, 100, got)
	require.Zero(t, b.pending)
	s.request("", latest, "", 60)
	require.Len(t, s.collect(50), 50)
	require.NoError(t, s.s.CloseSend())
	for {
		b, err := s.receive()
		if err != nil {
			require.ErrorContains(t, err, "EOF")
			break
		}
		require.Empty(t, b.events)
	}
}

func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe(accountTopic, latest, "", 1)
	s.next()
	o.fault(`{"reset_streams":true}`)
	_, err := s.receive()
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}
