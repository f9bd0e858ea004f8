package pubsubstubs_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/developerforce/pub-sub-api/go/common"
	"github.com/developerforce/pub-sub-api/go/grpcclient"
	"github.com/developerforce/pub-sub-api/go/oauth"
	"github.com/developerforce/pub-sub-api/go/proto"
	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/selfsame-io/selfsame/services/system-salesforce/certification/internal/worldtest"
)

const (
	changes     = "/data/AccountChangeEvent"
	maintenance = "/event/CarMaintenance__e"
)

func TestClient(t *testing.T) {
	worldtest.Run(t, []worldtest.Case{
		{Capability: "login-client-credentials", Run: login},
		{Capability: "login-password", Run: password},
		{Capability: "login-session", Run: session},
		{Capability: "identity", Run: identity},
		{Capability: "topic", Run: topic},
		{Capability: "subscribe", Run: subscribe},
		{Capability: "replay", Run: replay},
		{Capability: "publish", Run: publish},
		{Capability: "publish-stream", Run: publishStream},
	})
}

// client is a connection of the stubs with the session of another program.
type client struct {
	proto.PubSubClient
	ctx     context.Context //nolint:containedctx // it carries the session of every call of one case
	session worldtest.Session
	codecs  map[string]*goavro.Codec
}

func connect(t *testing.T, w *worldtest.World) *client {
	t.Helper()
	conn, err := grpc.NewClient(w.PubSub, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	s := w.Session(t)
	return &client{
		PubSubClient: proto.NewPubSubClient(conn), session: s, codecs: map[string]*goavro.Codec{},
		ctx: metadata.AppendToOutgoingContext(worldtest.Context(t), "accesstoken", s.Token, "instanceurl", s.Instance, "tenantid", s.Org),
	}
}

// codec reads the schema as the sample does.
func (c *client) codec(t *testing.T, id string) *goavro.Codec {
	t.Helper()
	if c.codecs[id] == nil {
		schema, err := c.GetSchema(c.ctx, &proto.SchemaRequest{SchemaId: id})
		require.NoError(t, err)
		require.Equal(t, id, schema.SchemaId)
		c.codecs[id], err = goavro.NewCodec(schema.SchemaJson)
		require.NoError(t, err)
	}
	return c.codecs[id]
}

func (c *client) decode(t *testing.T, e *proto.ConsumerEvent) map[string]any {
	t.Helper()
	got, rest, err := c.codec(t, e.Event.SchemaId).NativeFromBinary(e.Event.Payload)
	require.NoError(t, err)
	require.Empty(t, rest)
	return got.(map[string]any)
}

// open starts a subscription.
func (c *client) open(t *testing.T, first *proto.FetchRequest) grpc.BidiStreamingClient[proto.FetchRequest, proto.FetchResponse] {
	t.Helper()
	stream, err := c.Subscribe(c.ctx)
	require.NoError(t, err)
	require.NoError(t, stream.Send(first))
	return stream
}

// until receives events until one is found.
func (c *client) until(t *testing.T, s grpc.BidiStreamingClient[proto.FetchRequest, proto.FetchResponse], found func(map[string]any, *proto.ConsumerEvent) bool) {
	t.Helper()
	for {
		resp, err := s.Recv()
		require.NoError(t, err)
		for _, e := range resp.Events {
			if found(c.decode(t, e), e) {
				return
			}
		}
		if resp.PendingNumRequested == 0 {
			require.NoError(t, s.Send(&proto.FetchRequest{NumRequested: 10}))
		}
	}
}

func account(t *testing.T, w *worldtest.World, c *client, fields map[string]any) string {
	t.Helper()
	var made struct{ ID string }
	w.Call(t, c.session, http.MethodPost, "/services/data/v62.0/sobjects/Account", fields, &made)
	return made.ID
}

func header(event map[string]any) map[string]any {
	return event["ChangeEventHeader"].(map[string]any)
}

func about(id string) func(map[string]any, *proto.ConsumerEvent) bool {
	return func(event map[string]any, _ *proto.ConsumerEvent) bool {
		return fmt.Sprint(header(event)["recordIds"]) == "["+id+"]"
	}
}

// configure gives the settings to the sample client.
func configure(w *worldtest.World) {
	common.OAuthEndpoint, common.GRPCEndpoint = w.URL, w.PubSubTLS
	common.GrantType, common.ClientId, common.ClientSecret = "client_credentials", w.ClientID, w.ClientSecret
	common.Username, common.Password = "", ""
	common.TopicName = maintenance
}

// sample logs in with the sample client.
func sample(t *testing.T, w *worldtest.World) *grpcclient.PubSubClient {
	t.Helper()
	require.NotEmpty(t, w.PubSubTLS, "the sandbox serves no Pub/Sub API over TLS")
	configure(w)
	c, err := grpcclient.NewGRPCClient()
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.Authenticate())
	require.NoError(t, c.FetchUserInfo())
	return c
}

func login(t *testing.T, w *worldtest.World) {
	c := sample(t, w)
	info, err := c.GetTopic()
	require.NoError(t, err)
	require.Equal(t, maintenance, info.TopicName)
	common.ClientSecret = "wrong"
	require.ErrorContains(t, c.Authenticate(), "400")
}

// password logs in as the sample client does when nothing is changed.
func password(t *testing.T, w *worldtest.World) {
	configure(w)
	common.GrantType, common.Username, common.Password = "password", w.Username, w.Password+w.SecurityToken
	got, err := oauth.Login()
	require.NoError(t, err)
	info, err := oauth.UserInfo(got.AccessToken)
	require.NoError(t, err)
	require.NotEmpty(t, info.OrganizationID)
}

func session(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	info, err := c.GetTopic(c.ctx, &proto.TopicRequest{TopicName: changes})
	require.NoError(t, err)
	require.Equal(t, c.session.Org, info.TenantGuid)
	bad := metadata.AppendToOutgoingContext(worldtest.Context(t), "accesstoken", c.session.Token+"x", "instanceurl", c.session.Instance, "tenantid", c.session.Org)
	var trailer metadata.MD
	_, err = c.GetTopic(bad, &proto.TopicRequest{TopicName: changes}, grpc.Trailer(&trailer))
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Equal(t, []string{"sfdc.platform.eventbus.grpc.service.auth.error"}, trailer.Get("error-code"))
}

func identity(t *testing.T, w *worldtest.World) {
	configure(w)
	s := w.Session(t)
	got, err := oauth.UserInfo(s.Token)
	require.NoError(t, err)
	require.Equal(t, s.Org, got.OrganizationID)
	require.Equal(t, s.User, got.UserID)
}

func topic(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	info, err := c.GetTopic(c.ctx, &proto.TopicRequest{TopicName: changes})
	require.NoError(t, err)
	require.True(t, info.CanSubscribe)
	require.False(t, info.CanPublish)
	require.Contains(t, c.codec(t, info.SchemaId).Schema(), "AccountChangeEvent")
	_, err = c.GetTopic(c.ctx, &proto.TopicRequest{TopicName: "/event/Nothing__e"})
	require.Contains(t, []codes.Code{codes.NotFound, codes.PermissionDenied}, status.Code(err))
}

func subscribe(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	stream := c.open(t, &proto.FetchRequest{TopicName: changes, ReplayPreset: proto.ReplayPreset_EARLIEST, NumRequested: 10})
	id := account(t, w, c, map[string]any{"Name": "Change", "Phone": "1", "BillingCity": "Köln"})
	path := "/services/data/v62.0/sobjects/Account/" + id
	w.Call(t, c.session, http.MethodPatch, path, map[string]any{"Phone": nil, "BillingCity": "Bonn"}, nil)
	w.Call(t, c.session, http.MethodDelete, path, nil, nil)
	var mine []map[string]any
	c.until(t, stream, func(event map[string]any, e *proto.ConsumerEvent) bool {
		if about(id)(event, e) {
			mine = append(mine, event)
		}
		return len(mine) == 3
	})
	require.Equal(t, []any{"CREATE", "UPDATE", "DELETE"}, []any{header(mine[0])["changeType"], header(mine[1])["changeType"], header(mine[2])["changeType"]})
	require.Equal(t, goavro.Union("string", "Change"), mine[0]["Name"])
	address := mine[1]["BillingAddress"].(map[string]any)["com.sforce.eventbus.Address"].(map[string]any)
	require.Equal(t, goavro.Union("string", "Bonn"), address["City"])
	require.Nil(t, mine[1]["Phone"])
	require.Len(t, header(mine[1])["nulledFields"], 1)
	require.Len(t, header(mine[1])["changedFields"], 2, "one bitmap of fields and one of the parts of the address")
	require.Nil(t, mine[2]["Name"])
	require.NoError(t, stream.CloseSend())
}

func replay(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	before, after := account(t, w, c, map[string]any{"Name": "Replay 1"}), account(t, w, c, map[string]any{"Name": "Replay 2"})
	var mark []byte
	c.until(t, c.open(t, &proto.FetchRequest{TopicName: changes, ReplayPreset: proto.ReplayPreset_EARLIEST, NumRequested: 10}),
		func(event map[string]any, e *proto.ConsumerEvent) bool {
			mark = e.ReplayId
			return about(before)(event, e)
		})
	resumed := c.open(t, &proto.FetchRequest{TopicName: changes, ReplayPreset: proto.ReplayPreset_CUSTOM, ReplayId: mark, NumRequested: 1})
	resp, err := resumed.Recv()
	require.NoError(t, err)
	require.Len(t, resp.Events, 1)
	require.True(t, about(after)(c.decode(t, resp.Events[0]), resp.Events[0]))

	bad := c.open(t, &proto.FetchRequest{TopicName: changes, ReplayPreset: proto.ReplayPreset_CUSTOM, ReplayId: []byte("neverheardof"), NumRequested: 1})
	_, err = bad.Recv()
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.Equal(t, []string{"sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted"}, bad.Trailer().Get("error-code"))
}

// payload encodes an event as the sample does.
func payload(t *testing.T, c *client, schema string, miles float64) []byte {
	t.Helper()
	b, err := c.codec(t, schema).BinaryFromNative(nil, map[string]any{
		"CreatedDate": time.Now().UnixMilli(), "CreatedById": c.session.User,
		"Mileage__c": goavro.Union("double", miles), "Cost__c": goavro.Union("double", 99.40),
		"WorkDescription__c": goavro.Union("string", "Replaced front brakes"),
	})
	require.NoError(t, err)
	return b
}

// publish publishes with the sample client and with the stubs.
func publish(t *testing.T, w *worldtest.World) {
	s := sample(t, w)
	info, err := s.GetTopic()
	require.NoError(t, err)
	schema, err := s.GetSchema(info.SchemaId)
	require.NoError(t, err)
	require.NoError(t, s.Publish(schema))

	c := connect(t, w)
	got, err := c.Publish(c.ctx, &proto.PublishRequest{TopicName: maintenance, Events: []*proto.ProducerEvent{
		{Id: "first", SchemaId: info.SchemaId, Payload: payload(t, c, info.SchemaId, 1)},
		{Id: "broken", SchemaId: info.SchemaId, Payload: []byte{0xff}},
	}})
	require.NoError(t, err)
	require.Len(t, got.Results, 2)
	require.Equal(t, "first", got.Results[0].CorrelationKey)
	require.Nil(t, got.Results[0].Error)
	require.NotNil(t, got.Results[1].Error)
	var miles []any
	c.until(t, c.open(t, &proto.FetchRequest{TopicName: maintenance, ReplayPreset: proto.ReplayPreset_EARLIEST, NumRequested: 10}),
		func(event map[string]any, e *proto.ConsumerEvent) bool {
			miles = append(miles, event["Mileage__c"])
			return string(e.ReplayId) == string(got.Results[0].ReplayId)
		})
	require.Equal(t, []any{goavro.Union("double", 95443.0), goavro.Union("double", 1.0)}, miles)
}

func publishStream(t *testing.T, w *worldtest.World) {
	c := connect(t, w)
	info, err := c.GetTopic(c.ctx, &proto.TopicRequest{TopicName: maintenance})
	require.NoError(t, err)
	require.True(t, info.CanPublish)
	stream, err := c.PublishStream(c.ctx)
	require.NoError(t, err)
	listen := c.open(t, &proto.FetchRequest{TopicName: maintenance, NumRequested: 10})
	for n := range 3 {
		require.NoError(t, stream.Send(&proto.PublishRequest{TopicName: maintenance, Events: []*proto.ProducerEvent{
			{Id: fmt.Sprint(n), SchemaId: info.SchemaId, Payload: payload(t, c, info.SchemaId, float64(100+n))},
		}}))
		resp, err := stream.Recv()
		require.NoError(t, err)
		require.Len(t, resp.Results, 1)
		require.Equal(t, fmt.Sprint(n), resp.Results[0].CorrelationKey)
		require.Nil(t, resp.Results[0].Error)
	}
	c.until(t, listen, func(event map[string]any, _ *proto.ConsumerEvent) bool {
		return fmt.Sprint(event["Mileage__c"]) == fmt.Sprint(goavro.Union("double", 102.0))
	})
	require.NoError(t, stream.CloseSend())
}
