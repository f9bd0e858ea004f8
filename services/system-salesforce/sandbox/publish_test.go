package sandbox_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

const orderTopic = "/event/Order_Placed__e"

// avroOrder encodes an Order_Placed__e by the Avro specification alone.
func avroOrder(created int64, by, number string, amount float64) []byte {
	text := func(b []byte, s string) []byte { return append(binary.AppendVarint(b, int64(len(s))), s...) }
	b := text(binary.AppendVarint(nil, created), by)
	if number == "" {
		b = append(b, 0)
	} else {
		b = text(binary.AppendVarint(b, 1), number)
	}
	b = binary.LittleEndian.AppendUint64(binary.AppendVarint(b, 1), math.Float64bits(amount))
	return append(b, 0)
}

func message(fields ...any) []byte {
	var b []byte
	for i := 0; i+1 < len(fields); i += 2 {
		num := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(int64(v)))
		}
	}
	return b
}

type published struct {
	replay, key, fault string
	code               int
}

func (f *feed) results(b []byte) []published {
	f.org.t.Helper()
	var out []published
	m := fields(f.org.t, b)
	for _, x := range m[1] {
		r := fields(f.org.t, x.([]byte))
		p := published{replay: str(r[1]), key: str(r[3])}
		if len(r[2]) > 0 {
			e := fields(f.org.t, r[2][0].([]byte))
			p.code, p.fault = int(e[1][0].(uint64)), str(e[2])
		}
		out = append(out, p)
	}
	return out
}

func (f *feed) publish(request []byte, trailer *metadata.MD) ([]published, error) {
	out := &rawBytes{}
	if trailer == nil {
		trailer = &metadata.MD{}
	}
	if err := f.conn.Invoke(f.context(), "/eventbus.v1.PubSub/Publish", &rawBytes{request}, out, grpc.Trailer(trailer)); err != nil {
		return nil, err
	}
	return f.results(out.b), nil
}

func (f *feed) schemaOf(topic string) string {
	f.org.t.Helper()
	out, err := f.unary("GetTopic", topic, nil)
	require.NoError(f.org.t, err)
	return str(out[5])
}

func TestPlatformEventsAreCreatedLikeRecords(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	f := o.feed()
	s := f.subscribe(orderTopic, latest, "", 10)
	channel := f.subscribe("/event/Orders__chn", latest, "", 10)
	all := f.subscribe("/data/ChangeEvents", latest, "", 10)
	s.next()
	channel.next()
	all.next()
	answer := o.want(201, "POST", v62+"/sobjects/Order_Placed__e", `{"Number__c":"N1","Amount__c":9.5}`).object()
	require.Equal(t, true, answer["success"])
	note := answer["errors"].([]any)[0].(map[string]any)
	require.Equal(t, "OPERATION_ENQUEUED", note["statusCode"])
	e := s.collect(1)[0]
	require.Equal(t, note["message"], e.id)
	require.Equal(t, map[string]any{
		"CreatedDate": o.clock.now().UnixMilli(), "CreatedById": "005000000000001AAA", "Number__c": "N1", "Amount__c": 9.5, "Urgent__c": false,
	}, e.value)
	require.Contains(t, e.schema, `{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"}`)
	o.want(201, "POST", v62+"/sobjects/Order_Shipped__e", `{"Number__c":"N1"}`)
	require.Equal(t, e.id, channel.collect(2)[0].id)
	o.account(`{"Name":"A"}`)
	require.Equal(t, "A", all.collect(1)[0].value["Name"], "platform events are no change events")

	require.Equal(t, "REQUIRED_FIELD_MISSING", o.want(400, "POST", v62+"/sobjects/Order_Placed__e", `{"Amount__c":1}`).code())
	rolledBack := `{"allOrNone":true,"records":[{"attributes":{"type":"Order_Placed__e"},"Number__c":"lost"},{"attributes":{"type":"Account"}}]}`
	o.want(200, "POST", v62+"/composite/sobjects", rolledBack)
	both := `{"records":[{"attributes":{"type":"Order_Placed__e"},"Number__c":"N2"},{"attributes":{"type":"Account"}}]}`
	o.want(200, "POST", v62+"/composite/sobjects", both)
	require.Equal(t, "N2", s.collect(1)[0].value["Number__c"], "what was rolled back was not published")
	require.Equal(t, 404, o.do("GET", v62+"/sobjects/Order_Placed__e/"+answer["id"].(string), "").status)
	require.Equal(t, "e00", answer["id"].(string)[:3])
	require.Equal(t, "INVALID_TYPE_FOR_OPERATION", o.want(400, "GET", v62+"/query?q=SELECT+Number__c+FROM+Order_Placed__e", "").code())
	described := o.want(200, "GET", v62+"/sobjects/Order_Placed__e/describe", "").object()
	require.Equal(t, []any{true, false, false}, []any{described["createable"], described["queryable"], described["updateable"]})
}

func TestPublish(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t), func(c *sandbox.Config) { c.Events.MaxBytes = 3000 })
	f := o.feed()
	s := f.subscribe(orderTopic, latest, "", 10)
	s.next()
	id := f.schemaOf(orderTopic)
	order := func(key, number string) []byte { return message(1, key, 2, id, 3, avroOrder(5, "005x", number, 2)) }
	wrong := message(1, "k3", 2, "other", 3, avroOrder(5, "005x", "N", 2))
	got, err := f.publish(message(1, orderTopic, 2, order("k1", "N1"), 2, order("k2", ""), 2, wrong, 2, message(1, "k4", 2, id, 3, "\x01"),
		2, order("k5", strings.Repeat("x", 3000)), 2, order("", "N6")), nil)
	require.NoError(t, err)
	require.Len(t, got, 6)
	for i, want := range []struct {
		key, fault string
	}{{"k1", ""}, {"k2", "required"}, {"k3", "schema id"}, {"k4", "does not match"}, {"k5", "limit of 3000"}, {"", ""}} {
		require.Equal(t, want.key, got[i].key)
		require.Contains(t, got[i].fault, want.fault)
		require.Equal(t, want.fault == "", got[i].replay != "" && got[i].code == 0, got[i])
	}
	events := s.collect(2)
	require.Equal(t, []string{got[0].replay, "k1", "N1"}, []string{events[0].replay, events[0].id, events[0].value["Number__c"].(string)})
	require.Len(t, events[1].id, 36, "an event without an id is given one")
	require.Equal(t, "N6", f.subscribe(orderTopic, custom, got[0].replay, 5).collect(1)[0].value["Number__c"])
	require.InDelta(t, 2, o.want(200, "GET", "/__sandbox__/org", "").object()["platform_events_last_hour"], 0)

	for name, c := range map[string]struct {
		request []byte
		code    codes.Code
	}{
		"a topic of changes":   {message(1, accountTopic, 2, order("k", "N")), codes.PermissionDenied},
		"a channel":            {message(1, "/event/Orders__chn", 2, order("k", "N")), codes.PermissionDenied},
		"an unknown topic":     {message(1, "/event/Nope__e", 2, order("k", "N")), codes.NotFound},
		"no topic":             {message(2, order("k", "N")), codes.InvalidArgument},
		"no events":            {message(1, orderTopic), codes.InvalidArgument},
		"something else":       {[]byte{0xff, 0xff}, codes.InvalidArgument},
		"more than gRPC takes": {message(1, orderTopic, 2, order("k", strings.Repeat("x", 5<<20))), codes.ResourceExhausted},
	} {
		_, err := f.publish(c.request, nil)
		require.Equal(t, c.code, status.Code(err), name)
	}
	o.token = "bad"
	var trailer metadata.MD
	_, err = f.publish(message(1, orderTopic, 2, order("k", "N")), &trailer)
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Equal(t, []string{authError}, trailer.Get("error-code"))
}

func TestTopicsSayWhatTheyAllow(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t))
	f := o.feed()
	topic, err := f.unary("GetTopic", orderTopic, nil)
	require.NoError(t, err)
	require.Equal(t, []any{uint64(1)}, topic[3])
	require.Equal(t, []any{uint64(1)}, topic[4])
	require.Contains(t, f.schema(str(topic[5])), `"name":"Order_Placed__e"`)
	for method, argument := range map[string]string{"GetTopic": "", "GetSchema": ""} {
		_, err := f.unary(method, argument, nil)
		require.Equal(t, codes.InvalidArgument, status.Code(err), method)
	}
	var trailer metadata.MD
	_, err = f.unary("GetTopic", "/data/Nope__chn", &trailer)
	require.Equal(t, codes.NotFound, status.Code(err))
	require.NotEmpty(t, trailer.Get("error-code"))
	require.NotEmpty(t, trailer.Get("rpc-id"))
}

func (f *feed) open(method string) grpc.ClientStream {
	f.org.t.Helper()
	s, err := f.conn.NewStream(f.context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/eventbus.v1.PubSub/"+method)
	require.NoError(f.org.t, err)
	return s
}

func TestPublishStream(t *testing.T) {
	t.Parallel()
	o := setup(t, extended(t), func(c *sandbox.Config) { c.Events.PublishSilence = 2 * time.Second })
	f := o.feed()
	id := f.schemaOf(orderTopic)
	order := func(key string) []byte { return message(1, key, 2, id, 3, avroOrder(5, "005x", key, 2)) }
	s := f.open("PublishStream")
	ask := func(b []byte) ([]published, error) {
		require.NoError(t, s.SendMsg(&rawBytes{b}))
		var out rawBytes
		if err := s.RecvMsg(&out); err != nil {
			return nil, err
		}
		return f.results(out.b), nil
	}
	for _, b := range [][]byte{message(1, orderTopic, 2, order("k1")), message(2, order("k2"))} {
		got, err := ask(b)
		require.NoError(t, err)
		require.NotEmpty(t, got[0].replay)
	}
	require.NoError(t, s.CloseSend())
	require.ErrorIs(t, s.RecvMsg(&rawBytes{}), io.EOF)
	require.Len(t, f.subscribe(orderTopic, earliest, "", 5).collect(2), 2)

	s = f.open("PublishStream")
	start := time.Now()
	require.Equal(t, codes.Aborted, status.Code(s.RecvMsg(&rawBytes{})), "a silent stream is closed")
	require.Less(t, time.Since(start), patience)
	s = f.open("PublishStream")
	_, err := ask(message(1, orderTopic, 2, order("k3")))
	require.NoError(t, err)
	_, err = ask(message(1, "/event/Order_Shipped__e", 2, order("k4")))
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	s = f.open("PublishStream")
	_, err = ask(message(1, orderTopic, 2, order("k5"), 3, "no session"))
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Equal(t, []string{"sfdc.platform.eventbus.grpc.service.auth.refresh.invalid"}, s.Trailer().Get("error-code"))
}

// secure connects with TLS and trusts nothing but the given PEM.
func (o *org) secure(pem []byte, host string) *feed {
	o.t.Helper()
	pool := x509.NewCertPool()
	require.True(o.t, pool.AppendCertsFromPEM(pem))
	_, port, _ := strings.Cut(o.server.PubSubTLSAddr(), ":")
	conn, err := grpc.NewClient("passthrough:///"+host+":"+port, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool})), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
	require.NoError(o.t, err)
	o.t.Cleanup(func() { _ = conn.Close() })
	return &feed{org: o, conn: conn, schemas: map[string]string{}}
}

func TestTLSAndPlainTextAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.pem")
	o := setup(t, func(c *sandbox.Config) { c.Events.CertificateFile = file })
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(o.server.CertificatePEM()), string(written))
	require.Equal(t, string(written), o.want(200, "GET", "/__sandbox__/certificate", "").text)
	plain := o.feed().subscribe(accountTopic, latest, "", 5)
	plain.next()
	var streams []*stream
	for _, host := range []string{"127.0.0.1", "localhost"} {
		s := o.secure(written, host).subscribe(accountTopic, latest, "", 5)
		s.next()
		streams = append(streams, s)
	}
	o.account(`{"Name":"A"}`)
	want := plain.collect(1)[0]
	for _, s := range streams {
		require.Equal(t, want, s.collect(1)[0])
	}
	other := setup(t)
	_, err = other.secure(written, "127.0.0.1").unary("GetTopic", accountTopic, nil)
	require.Equal(t, codes.Unavailable, status.Code(err), "every start has its own certificate")
	_, err = sandbox.New(sandbox.Config{Events: sandbox.EventConfig{CertificateFile: filepath.Join(file, "none")}})
	require.Error(t, err)
}

func TestConcurrentClientsAreLimited(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.Events.MaxClients = 1 })
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 1)
	s.next()
	f.subscribe(accountTopic, latest, "", 1).fails(codes.ResourceExhausted, "sfdc.platform.eventbus.grpc.concurrent.client.limit.exceeded")
	require.NoError(t, s.s.CloseSend())
	for {
		if _, err := s.receive(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
	f.subscribe(accountTopic, latest, "", 1).next()
}

func TestSessionsAreRefreshedOnTheStream(t *testing.T) {
	t.Parallel()
	o := setup(t)
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 1)
	s.next()
	o.login()
	require.NoError(t, s.s.SendMsg(&rawBytes{message(4, 1, 5, o.token)}))
	o.account(`{"Name":"A"}`)
	s.collect(1)
	require.NoError(t, s.s.SendMsg(&rawBytes{message(4, 1, 5, "nobody")}))
	s.fails(codes.Unauthenticated, "sfdc.platform.eventbus.grpc.service.auth.refresh.invalid")
}
